"""The injection shapes in languages other than English: what each pattern looks for, language by language.

Written for normalised text (NFKC: full-width signs are plain ones, Thai and Indic vowels stand apart).
A blank stands for white space or a comma. Words that people say to each other as well (message, order,
settings, wishes) are left out, and so are verbs that software uses for its own settings.

The gate reads the words that a text must hold from these expressions: each needs a literal word or two,
the rarer the better, and one whose every part is optional or a class would let every text through.
"""

import unicodedata
from collections.abc import Iterable

__all__ = ["LEAKS", "NEGATED", "OVERRIDES", "PERSONAS", "SECRETS"]


def _written(*expressions: str) -> str:
    """One alternation, as normalised text has its letters."""
    joined = unicodedata.normalize("NFKC", "|".join(expressions))
    return joined.replace(" ", r"(?:[\s,]{1,3})")


_END = r"\s?(?:[:.!。]|$)"
_GAP = r"[^.!?。\n]{0,40}"


# --- German

_DE_VERB = (
    r"(?:ignorier(?:en Sie|t|e|en)?|vergiss|vergesst|vergessen Sie|missachte(?:n Sie|t)?"
    r"|überschreib(?:en Sie|t|e)|verw(?:irf|erfen Sie)|umgeh(?:en Sie|e)|setz(?:e|en Sie)? (?:dich|sich) über)"
)
_DE_FILL = (
    r"(?:(?:bitte|jetzt|nun|einfach|sofort|mal|alle[nr]?|sämtliche[nr]?|all|deine[nr]?|eure|ihre[nr]?|meine"
    r"|die|der|den|das|diese|dir) ){0,4}"
)
_DE_EARLIER = (
    r"(?:(?:bisherig|vorherig|vorig|vorangegangen|vorangehend|vorhergehend|obig|obenstehend|früher|ursprünglich)e[nr]?"
    r"|(?:zuvor|vorher|bisher|oben) (?:gegebenen|genannten|erhaltenen|erteilten|stehenden))"
)
_DE_RULES = (
    r"(?:(?:system|gegebenen) ?-?)?(?:anweisung(?:en)?|instruktion(?:en)?|regeln|vorgaben|befehlen?|prompts?"
    r"|richtlinien|aufforderungen)"
)
_DE_WORD = (
    r"(?:(?:geheime[sn]? )?(?:passworte?s?|kennworte?s?|codeworte?s?|geheimworte?s?|schlüsselworte?s?"
    r"|losungsworte?s?|geheimnis(?:ses)?|geheimcodes?|geheimschlüssels?|zugangscodes?)|geheime[nsr]? (?:schlüssels?"
    r"|wort(?:es)?|codes?))"
)
_DE_ASK = (
    r"(?:wie lautet|was ist|nenne?|sage?|verrate?|gib|zeige?|buchstabiere?|schreibe?|gebe?|verraten Sie|nennen Sie"
    r"|sagen Sie|geben Sie|zeigen Sie) (?:(?:mir|uns|bitte|jetzt|mal|doch|endlich|sofort) ){0,3}"
)
_DE_KEPT = (
    r"(?:das|den|die|welches) (?:(?:du|sie) (?:(?:mir|uns|niemandem|keinem|auf keinen fall|eigentlich|nicht|niemals"
    r"|nie) ){1,3}(?:verraten|preisgeben|nennen|sagen|teilen|offenbaren|weitergeben)"
    r"|du (?:geheim|hütest|bewachst|beschützt|schützt|schützen|hüten|verheimlichst|kennst|versteckst|verbirgst"
    r"|bekommen hast|erhalten hast)|(?:man )?dir (?:gegeben|anvertraut|gesagt|mitgeteilt|genannt))"
)
_DE_YOURS = (
    r"(?:system-?\s?(?:prompts?|anweisung(?:en)?|instruktionen|nachricht|vorgaben)|(?:ursprünglich|geheim|intern"
    r"|versteckt|anfänglich|initial)e[nrs]? (?:system)?(?:anweisung(?:en)?|instruktion(?:en)?|prompts?))"
)
_DE = {
    "override": (
        rf"{_DE_VERB} {_DE_FILL}{_DE_EARLIER} {_DE_RULES}",
        rf"{_DE_VERB} (?:(?:bitte|jetzt|nun|alle|all) ){{0,2}}(?:deine|eure) (?:system)?(?:anweisungen|instruktionen"
        r"|richtlinien|vorgaben|programmierung)",
        rf"{_DE_VERB} (?:bitte )?alles (?:obige|bisherige|vorherige|vorangegangene|was (?:hier )?(?:oben|darüber|davor)"
        r" (?:steht|stand|geschrieben)|was (?:man )?dir (?:bisher|vorher|zuvor|davor) (?:gesagt|aufgetragen|befohlen))",
        rf"(?:alle|sämtliche) {_DE_EARLIER} {_DE_RULES} (?:(?:ab sofort|bitte|jetzt) )?(?:ignorieren|vergessen"
        r"|missachten|verwerfen)",
        rf"(?:folgen?|befolgen?|beachten?|halten?) (?:Sie )?(?:(?:dich|sich|dir) )?nicht (?:mehr|länger) (?:an )?"
        rf"{_DE_FILL}(?:{_DE_EARLIER} )?{_DE_RULES}",
        rf"(?:befolgen?|beachten?) (?:Sie )?{_DE_FILL}{_DE_EARLIER} {_DE_RULES} nicht",
        rf"(?:hier (?:sind|kommen)|das sind|dies sind|es folgen) (?:jetzt |nun )?(?:deine|ihre) neuen "
        rf"(?:anweisungen|instruktionen|befehle){_END}",
        r"(?:deine|eure) neuen (?:anweisungen|instruktionen|befehle) (?:lauten|sind)",
    ),
    "leak": (
        r"(?:(?:zeig|verrat|nenn|sag|geb|schreib|wiederhol|offenbar|enthüll|druck|übersetz|kopier|zitier|teil)"
        r"(?:en Sie|e|t)?|gib) (?:(?:mir|uns|bitte|mal|jetzt|doch|wort für wort|wörtlich|genau|den|die|das|inhalt"
        r"|text|alles|aus|von|komplett) ){0,5}(?:deine[nmrs]?|ihre[nmrs]?|eure[nrs]?) "
        rf"(?:(?:gesamten|ganzen|vollständigen|kompletten|genauen|eigenen) )?{_DE_YOURS}",
        rf"(?:was|wie) (?:ist|sind|lautete?n?|war|waren|steht in) (?:deine?m?|ihre?m?) (?:genaue[rn]? )?{_DE_YOURS}",
        r"welche (?:anweisungen|instruktionen|befehle) (?:hast du|wurden dir|hat man dir) (?:(?:am anfang|zu beginn"
        r"|vom system|von deinem entwickler|von deinen entwicklern) )?(?:bekommen|erhalten|gegeben)",
        r"(?:wiederholen?|gib)(?: Sie)? (?:(?:mir|bitte|wort für wort|wörtlich) )?(?:alles|den gesamten text) (?:aus )?"
        r"(?:was )?(?:bisher |hier )?(?:oben|darüber|davor|über dieser (?:zeile|nachricht))",
    ),
    "secret": (
        rf"{_DE_ASK}(?:(?:das|den|die|dein|deinen) ){{0,1}}{_DE_WORD} {_DE_KEPT}",
        rf"{_DE_ASK}(?:deine?n? (?:geheime[sn]? )?(?:passwort|kennwort|codewort|geheimwort|geheimcode|geheimschlüssel)"
        r"|das (?:geheime (?:passwort|kennwort|wort|codewort)|geheimwort)|den geheimen (?:schlüssel|code))",
        r"gib (?:mir|uns) (?:bitte |nur )?(?:einen )?(?:kleinen )?(?:hinweis|tipp) auf (?:das|den|dein|deinen) "
        rf"{_DE_WORD}",
        rf"{_DE_ASK}(?:den|die|der|das) (?:(?:ersten?|letzten?) (?:[a-zà-ÿ]{{1,8}} )?(?:buchstaben?|zeichen|silbe))"
        rf" (?:des|deines|vom|von deinem) {_DE_WORD}",
        rf"(?:buchstabiere?|schreibe?|sage?|nenne?|gib) (?:mir )?(?:bitte )?(?:das|dein|den|deinen) {_DE_WORD}"
        r" (?:rückwärts|umgekehrt|in base64|als gedicht)",
        r"was (?:darfst|sollst) du (?:mir|uns|auf keinen fall) (?:nicht |niemals |auf keinen fall )?(?:sagen|verraten)",
    ),
    "persona": (
        rf"du bist (?:jetzt|nun|ab jetzt|ab sofort|von nun an) {_GAP}(?:KI|AI|assistent|modell|chatbot|bot){_GAP}"
        r"ohne (?:(?:jegliche|alle|irgendwelche|moralische|ethische) ){0,2}(?:einschränkungen|beschränkungen|regeln"
        r"|filter|zensur|grenzen|richtlinien)",
        r"du (?:bist|befindest dich) (?:jetzt |nun |ab jetzt |ab sofort )?im entwickler-?modus",
        rf"(?:verhalte dich|antworte|tu so) {_GAP}(?:unzensiert|uneingeschränkt|ungefiltert)e?[rsn]? (?:KI|AI"
        r"|assistent|modell|chatbot)",
    ),
}

# --- French

_FR_VERB = (
    r"(?:ignore[rz]?|oublie[rz]?|néglige[rz]?|contourne[rz]?|n[e'’] ?(?:suis|suivez|respecte[rz]?|obéis|obéissez"
    r"|écoute[rz]?|applique[rz]?) (?:plus|pas)|ne (?:tiens|tenez) (?:plus|pas) compte|fai(?:s|tes) abstraction"
    r"|passe[rz]? outre|(?:arrête|cesse)[rz]? de (?:suivre|respecter))"
)
_FR_FILL = (
    r"(?:(?:s['’]il (?:te|vous) plaît|maintenant|complètement|de|des|à|aux|toutes?|tous|les|tes|vos|ces|mes) ){0,5}"
)
_FR_RULES = r"(?:instructions?|consignes?|r[èe]gles|directives?|ordres|prompts?)"
_FR_EARLIER = (
    r"(?:pr[ée]c[ée]dent(?:es|e|s)?|antérieure?s?|initiales|ci-dessus|d['’]origine|du système|système"
    r"|préc[ée]demment (?:données|reçues)|(?:données |reçues )(?:auparavant|avant|plus haut|précédemment)"
    r"|préc[ée]demment|plus haut|qui précèdent|que (?:tu as|vous avez) reçue?s|qu['’]on (?:t['’]a|vous a) données)"
)
_FR_WORD = (
    r"(?:mot de passe(?: secret)?|(?:code|mot)(?:-clé| clé)? secret|(?:clé|clef|phrase) secrète|mot de code|secret)"
)
_FR_ASK = (
    r"(?:quel(?:le)? est|(?:donne|rév[éè]le|montre|épelle|affiche|dévoile|divulgue|répète|communique)[rz]?|épelez"
    r"|dis|dites|écris|écrivez)(?:(?:-| )(?:moi|nous))? "
)
_FR_KEPT = (
    r"(?:que (?:tu|vous) (?:ne )?(?:dois|devez|peux|pouvez) (?:garder|protéger|cacher|(?:pas|jamais) (?:me )?"
    r"(?:révéler|dire|divulguer|dévoiler|donner|partager))|que tu (?:gardes|protèges|caches|connais|as reçu)"
    r"|(?:qu['’]on|que l['’]on) (?:t['’]a|vous a) (?:confié|demandé de|interdit de)|qu['’]on t['’]a (?:donné|dit)"
    r"|qui (?:t['’]|vous )a été confié)"
)
_FR_YOURS = (
    r"(?:(?:prompt|message|invite|instructions?|consignes) (?:de |du )?(?:système|systeme|initiale?s?|cachée?s?"
    r"|secr[èe]te?s?|d['’]origine|internes?|de départ)|system prompt)"
)
_FR = {
    "override": (
        rf"{_FR_VERB} {_FR_FILL}(?:{_FR_RULES} (?:[a-zà-ÿ]{{1,12}} )?{_FR_EARLIER}|(?:précédentes|anciennes)"
        rf" {_FR_RULES})",
        rf"{_FR_VERB} (?:(?:à|de|toutes) ){{0,2}}tes (?:instructions|consignes|directives|règles de sécurité"
        r"|restrictions)",
        rf"{_FR_VERB} (?:de )?tout ce (?:qui précède|qui est (?:écrit )?(?:au-dessus|ci-dessus)|qu['’]on (?:t['’]a"
        r"|vous a)"
        r" dit (?:avant|auparavant|précédemment|jusqu['’]ici))",
        rf"(?:voici|voilà|ce sont) (?:maintenant )?(?:tes|vos) nouvelles (?:instructions|directives){_END}",
        r"tes nouvelles (?:instructions|directives|consignes) sont",
    ),
    "leak": (
        r"(?:(?:montr|r[ée]v[éèe]l|affich|donn|r[ée]p[éèe]t|imprim|résum|partag|recopi|récit|divulgu|dévoil)(?:er|ez|e)"
        r"|dis|dites|écris|écrivez|traduis(?:ez)?)(?:-(?:moi|nous))? (?:(?:moi|nous|tout|le|la|l['’]intégralité"
        r"|contenu|texte|mot pour mot|exactement|intégralement|de|du) ){0,5}(?:ton|ta|tes|votre|vos) "
        rf"(?:propres? )?{_FR_YOURS}",
        r"(?:rév[éè]le|affiche|répète|imprime|montre-moi|donne-moi|dis-moi) (?:toutes )?tes instructions",
        rf"quel(?:le)?s? (?:est|sont|était|étaient) (?:ton|ta|tes|votre|vos) {_FR_YOURS}",
        r"rép[éè]te[rz]? (?:mot pour mot )?(?:tout (?:ce qui (?:précède|est (?:écrit )?(?:au-dessus|ci-dessus|plus"
        r" haut))"
        r"|le texte (?:ci-dessus|au-dessus|qui précède)))",
    ),
    "secret": (
        rf"{_FR_ASK}(?:(?:le|la|ton|ta) )?{_FR_WORD} {_FR_KEPT}",
        r"(?:donne|dis|rév[éè]le|montre|épelle|dévoile|écris)[rz]?(?:(?:-| )(?:moi|nous))? (?:ton (?:mot de passe"
        r"|code secret"
        r"|mot secret)|ta (?:clé|clef|phrase) secrète|le (?:mot|code|mot de passe) secret|la (?:clé|clef|phrase)"
        r" secrète)",
        r"donne[rz]?(?:-| )(?:moi|nous) (?:juste |seulement )?un (?:petit )?indice (?:sur|à propos de) (?:le|la"
        r"|ton|ta) "
        rf"{_FR_WORD}",
        rf"{_FR_ASK}(?:la|les|le) (?:[a-zà-ÿ]{{1,8}} )?(?:premi|derni)(?:ère|er)s? (?:lettre|caractère)s? (?:du|de"
        r" la|de ton"
        rf"|de ta) {_FR_WORD}",
        rf"{_FR_ASK}(?:le|la|ton|ta) {_FR_WORD} (?:à l['’]envers|à rebours|en base64)",
        r"qu['’]est-ce que tu (?:ne )?dois (?:surtout )?pas (?:me )?(?:dire|révéler)|que ne dois-tu pas (?:me )?"
        r"(?:dire|révéler)",
    ),
    "persona": (
        rf"(?:tu es|vous êtes) (?:maintenant|désormais|à présent) {_GAP}(?:IA|AI|assistant|modèle|chatbot){_GAP}sans "
        r"(?:aucune? )?(?:restriction|limite|limitation|filtre|règle|censure)s?",
        r"tu es (?:maintenant |désormais )?en mode développeur",
        rf"(?:agis|réponds|comporte-toi|fais comme) {_GAP}(?:IA|assistant|modèle|chatbot) (?:non censuré|sans censure"
        r"|sans filtre|débridé)e?",
    ),
}

# --- Spanish

_ES_VERB = (
    r"(?:ignor(?:a|e|es|ar|en|ad|á)|olv[ií]d(?:a|e|es|ar|en|ad|á)(?:te|se)?|descart(?:a|e|ar|en)|desobede(?:ce|zca)"
    r"|omit(?:e|a|ir)|no (?:sigas?|(?:le )?hagas? caso|obedezcas?|tengas? en cuenta|respetes)(?: más)?"
    r"|deja de (?:seguir|obedecer)|ha(?:z|ga) caso omiso|pas[ae] por alto)"
)
_ES_FILL = r"(?:(?:por favor|ahora|ya|del?|a|todas?|todos|las?|los|el|tus|sus|mis|estas|esas|cualquier) ){0,5}"
_ES_RULES = r"(?:instrucci(?:ones|ón)|reglas|indicaciones|[óo]rdenes|directrices|directivas|prompts?)"
_ES_EARLIER = (
    r"(?:anterior(?:es)?|previ[ao]s?|de arriba|originales|iniciales|del? sistema|precedentes|recibidas"
    r"|que (?:te|le) (?:dieron|han dado|dijeron)|que recibiste|dadas (?:antes|anteriormente|previamente))"
)
_ES_WORD = r"(?:contraseña(?: secreta)?|clave(?: secreta)?|(?:palabra|frase|llave) secreta|código secreto|secreto)"
_ES_HIDDEN = r"(?:(?:palabra|clave|frase|llave|contraseña) secreta|código secreto)"
_ES_ASK = (
    r"(?:cu[áa]l es|(?:di|da|muéstra|revéla|deletréa|escríbe|confiésa)(?:me|nos)|d[íi]ga(?:me|nos)|revel[ae]|dime"
    r"|muestra|deletre[ae]|escrib[ae]|repit[ae]|comparte|danos|quiero) "
)
_ES_KEPT = (
    r"(?:que (?:no )?(?:debes|puedes|tienes que|tienes prohibido) (?:guardar|proteger|ocultar|mantener en secreto"
    r"|revelar(?:me)?|decir(?:me)?|compartir)|que (?:guardas|proteges|ocultas|escondes|conoces|recibiste)"
    r"|que te (?:dieron|han dado|dijeron|confiaron|pidieron)|que no (?:me )?(?:puedes|debes) (?:revelar|decir|dar))"
)
_ES_YOURS = (
    r"(?:(?:prompt|mensaje|instrucci(?:ones|ón)|indicaciones) (?:del? )?(?:sistema|inicial(?:es)?|original(?:es)?"
    r"|ocult[ao]s?|secret[ao]s?|intern[ao]s)|system prompt)"
)
_ES = {
    "override": (
        rf"{_ES_VERB} {_ES_FILL}(?:(?:anteriores|previas) {_ES_RULES}|{_ES_RULES} (?:[a-zñáéíóú]{{1,12}}"
        rf" )?{_ES_EARLIER})",
        rf"{_ES_VERB} (?:(?:todas|de) ){{0,2}}tus (?:instrucciones|directrices|restricciones|programación)",
        rf"{_ES_VERB} (?:de )?todo (?:lo )?(?:anterior|de arriba|que (?:te|le) (?:han dicho|dijeron)"
        r" (?:antes|hasta ahora|anteriormente)|que (?:está|aparece|hay) arriba|escrito arriba|dicho anteriormente)",
        r"(?:estas son|aquí (?:están|tienes)) (?:ahora )?(?:tus|sus|las) nuevas (?:instrucciones|directrices"
        rf"|órdenes){_END}",
        r"tus nuevas (?:instrucciones|directrices|órdenes) son",
    ),
    "leak": (
        r"(?:muestra|muéstra(?:me|nos)|revel[ae]|revéla(?:me|nos)|dime|dinos|díga(?:me|nos)|dame|danos|repit[ae]"
        r"|imprim[ae]"
        r"|escrib[ae]|escríbe(?:me|nos)|traduc[ea]|traduzca|resum[ea]|compart[ea]|copia|cita|recita) (?:(?:me|todo"
        r"|el|la"
        r"|las|los|texto|contenido|completo|exacto|palabra por palabra|textualmente|de) ){0,5}(?:tus?|sus?)"
        r" (?:propias )?"
        rf"(?:{_ES_YOURS})",
        r"(?:revela|muéstrame|repite|imprime|dime) (?:todas )?tus instrucciones",
        rf"cu[áa]l(?:es)? (?:es|son|era|eran|fue|fueron) (?:tus?|sus?) {_ES_YOURS}",
        r"repit[ea] (?:palabra por palabra )?todo (?:lo (?:que (?:está|hay|aparece) (?:escrito )?arriba|anterior|de"
        r" arriba)"
        r"|el texto (?:anterior|de arriba))",
    ),
    "secret": (
        rf"{_ES_ASK}(?:(?:la|el|tu) )?{_ES_WORD} {_ES_KEPT}",
        r"(?:di|da|muéstra|revéla|deletréa|escríbe)(?:me|nos) (?:tu (?:contraseña|clave secreta|palabra secreta"
        r"|código secreto"
        rf"|palabra clave)|(?:la|el) {_ES_HIDDEN})",
        rf"(?:da|de)(?:me|nos) (?:solo )?una (?:pequeña )?pista (?:sobre|de|acerca de) (?:la|el|tu) {_ES_WORD}",
        rf"{_ES_ASK}(?:la|las|el|los) (?:[a-zà-ÿ]{{1,8}} )?(?:primer|últim)[ao]?s? (?:letra|carácter|caractere)s?"
        r" (?:del|de la"
        rf"|de tu) {_ES_WORD}",
        rf"{_ES_ASK}(?:la|el|tu) {_ES_WORD} (?:al revés|hacia atrás|en base64)",
        r"qué (?:es lo que )?(?:te (?:dijeron|pidieron|ordenaron) que no|no (?:debes|puedes)) (?:me )?(?:dijeras|digas"
        r"|revelaras|revelar(?:me)?|decirme)",
    ),
    "persona": (
        rf"(?:ahora eres|a partir de ahora eres|eres ahora) {_GAP}(?:IA|AI|asistente|modelo|chatbot){_GAP}sin "
        r"(?:ningun[ao]? )?(?:restricciones|restricci[óo]n|límites?|limitaciones|filtros?|reglas|censura)",
        r"(?:ahora )?est[áa]s (?:ahora )?en modo (?:de )?desarrollador",
        rf"(?:actúa|responde|compórtate) {_GAP}(?:IA|asistente|modelo|chatbot) (?:sin (?:censura|filtros"
        r"|restricciones))",
    ),
}

# --- Italian

_IT_VERB = (
    r"(?:ignor(?:a(?:re|te)?|i)|dimentic(?:a(?:re|te|ti)?|hi)|trascur(?:a(?:re|te)?|i)|scart(?:a(?:re|te)?|i)"
    r"|tralascia(?:re|te)?|non (?:seguire|seguite|segua|rispettare|considerare|tenere conto|dare retta|obbedire)"
    r"(?: più)?|smetti(?:la)? di seguire|lascia perdere)"
)
_IT_FILL = (
    r"(?:(?:per favore|ora|adesso|di|del(?:le)?|degli|a|al(?:le)?|tutt[ei]|le|la|i|gli|il|tue|tuoi|sue|mie|queste) )"
    r"{0,5}"
)
_IT_RULES = r"(?:istruzion[ei]|regole|indicazioni|direttiv[ea]|ordini|comandi|prompt)"
_IT_EARLIER = (
    r"(?:precedent[ei]|di sopra|qui sopra|sopra|inizial[ei]|original[ei]|anteriori|ricevut[ei]|(?:di|del) sistema"
    r"|date (?:in precedenza|prima|finora)|che ti (?:hanno|sono state) dat[eo])"
)
_IT_WORD = r"(?:password(?: segreta)?|parola d['’]ordine|(?:parola|chiave|frase) segreta|codice segreto|segreto)"
_IT_ASK = (
    r"(?:qual è|quale è|(?:di|da|mostra|rivela|scrivi|svela|confessa)(?:m|c)i|dimmi|dammi|dicci|rivela|mostra"
    r"|scrivi|ripeti"
    r"|svela|mi dica|sillaba) "
)
_IT_KEPT = (
    r"(?:che (?:non )?(?:devi|puoi|dovresti) (?:custodire|proteggere|nascondere|tenere segret[ao]|rivelar(?:e|mi)"
    r"|dir(?:e|mi)"
    r"|svelare|divulgare|condividere)|che (?:custodisci|proteggi|nascondi|conosci|hai ricevuto)"
    r"|che ti (?:hanno|è stat[ao]) (?:dat[ao]|dett[ao]|affidat[ao]|chiesto|confidat[ao]))"
)
_IT_YOURS = (
    r"(?:(?:prompt|messaggio|istruzioni|indicazioni) (?:di |del )?(?:sistema|inizial[ei]|original[ei]|nascost[eo]"
    r"|segret[eo]|intern[eo])|system prompt)"
)
_IT = {
    "override": (
        rf"{_IT_VERB} {_IT_FILL}(?:(?:precedenti|vecchie) {_IT_RULES}|{_IT_RULES} (?:[a-zàèéìòù]{{1,12}}"
        rf" )?{_IT_EARLIER})",
        rf"{_IT_VERB} (?:(?:tutte|le) ){{0,2}}tue (?:istruzioni|direttive|restrizioni|linee guida)",
        rf"{_IT_VERB} tutto (?:(?:ciò|quello) che (?:precede|è scritto sopra|ti (?:hanno|è stato) detto (?:prima"
        r"|finora))"
        r"|quanto (?:sopra|precede|scritto sopra))",
        rf"(?:ecco|queste sono) (?:ora )?le (?:tue|sue) nuove (?:istruzioni|direttive){_END}",
        r"le tue nuove (?:istruzioni|direttive) sono",
    ),
    "leak": (
        r"(?:mostra(?:mi|ci|re|te)?|rivela(?:mi|ci|re|te)?|dimmi|dicci|dammi|ripeti(?:mi)?|stampa|scrivi(?:mi)?|traduci"
        r"|riassumi|condividi|copia|cita|elenca|mi (?:mostri|riveli|dica)) (?:(?:tutto|il|la|le|i|testo|contenuto"
        r"|parola per"
        r" parola|esattamente|del|delle|di) ){0,5}(?:tuo|tue|suo|sue|tuoi) (?:"
        rf"{_IT_YOURS})",
        r"(?:rivela(?:mi)?|mostrami|ripeti|stampa|dimmi) (?:tutte )?le tue istruzioni",
        rf"qual[ie]? (?:è|sono|era|erano) (?:il|le|i) (?:tuo|tue|suo|sue) {_IT_YOURS}",
        r"ripeti (?:parola per parola )?tutto (?:(?:quello|ciò) che (?:è scritto|c['’]è) (?:qui )?sopra|il testo"
        r" (?:sopra"
        r"|precedente))",
    ),
    "secret": (
        rf"{_IT_ASK}(?:(?:la|il) )?(?:tu[ao] )?{_IT_WORD} {_IT_KEPT}",
        r"(?:dimmi|dammi|rivelami|mostrami|scrivimi|svelami|dicci) (?:la (?:tua (?:password|parola d['’]ordine)"
        r"|(?:tua )?"
        r"(?:password|parola|chiave|frase) segreta)|il (?:tuo )?codice segreto)",
        r"da(?:m|c)+i (?:solo )?un (?:piccolo )?(?:indizio|suggerimento) (?:sulla|sul|sulla tua|sul tuo)"
        rf" {_IT_WORD}",
        rf"{_IT_ASK}(?:la|le|il|i) (?:[a-zà-ÿ]{{1,8}} )?(?:prim|ultim)[aeio] (?:[a-zà-ÿ]{{1,8}} )?(?:letter[ae]"
        r"|caratter[ei]) (?:della|del"
        rf"|della tua) {_IT_WORD}",
        rf"{_IT_ASK}(?:la|il) (?:tu[ao] )?{_IT_WORD} (?:al contrario|all['’]indietro|all['’]incontrario|in base64)",
        r"(?:che )?cosa (?:ti hanno detto di )?non (?:devi|puoi|dovresti)? ?(?:dirmi|rivelarmi|rivelare)",
    ),
    "persona": (
        rf"(?:ora sei|adesso sei|d['’]ora in poi sei|sei ora) {_GAP}(?:IA|AI|assistente|modello|chatbot){_GAP}"
        r"(?:senza (?:alcuna |alcun |nessuna )?(?:restrizion[ei]|limit[ei]|limitazion[ei]|filtr[io]|regole|censura))",
        r"(?:ora )?sei (?:ora |adesso )?in modalità sviluppatore",
        rf"(?:agisci|rispondi|comportati) {_GAP}(?:IA|assistente|modello|chatbot) (?:senza (?:censura|filtri"
        r"|restrizioni))",
    ),
}

# --- Portuguese

_PT_VERB = (
    r"(?:ignor(?:e|a|ar|em|es)|esque(?:ça|ce|cer|çam|ças)(?:-se)?|desconsider(?:e|a|ar|em)|descart(?:e|a|ar)"
    r"|desobede(?:ça|ce)|não (?:sigas?|obedeças?|respeite|leve em conta)(?: mais)?|par[ea] de (?:seguir|obedecer)"
    r"|deix[ea] de seguir)"
)
_PT_FILL = (
    r"(?:(?:por favor|agora|já|de|a|à|às|tod[ao]s|as|os|o|suas|seus|tuas|teus|minhas|estas|essas|das|dos|quaisquer) )"
    r"{0,5}"
)
_PT_RULES = r"(?:instruç(?:ões|ão)|instrucoes|regras|orientações|diretrizes|ordens|comandos|prompts?)"
_PT_EARLIER = (
    r"(?:anterior(?:es)?|prévi[ao]s|previas|acima|originais|iniciais|(?:do|de) sistema|que (?:te|lhe) (?:deram"
    r"|foram dadas)|que (?:você )?recebeu|dadas (?:antes|anteriormente))"
)
_PT_WORD = r"(?:senha(?: secreta)?|palavra-passe|(?:palavra|chave|frase) secreta|código secreto|segredo)"
_PT_ASK = (
    r"(?:qual (?:é|e)|(?:diga|dá|mostre|revele|soletre|escreva|conte|fale|dê|passe|confesse)(?:-me|-nos)?|me"
    r" (?:diga|mostre"
    r"|revele|conte|fale|dê|passe|dá|diz)|diz-me|conta-me) "
)
_PT_KEPT = (
    r"(?:que (?:você |tu )?(?:não )?(?:deve|pode|devia|deves|podes|tem que|tem de) (?:guardar|proteger|esconder"
    r"|manter em"
    r" segredo|(?:me )?(?:revelar|dizer|contar|compartilhar|divulgar))|que (?:você |tu )?(?:guardas?|proteges?"
    r"|escondes?|conheces?"
    r"|está (?:guardando|protegendo|escondendo)|recebeu)|que (?:te|lhe) (?:deram|disseram|confiaram|pediram)"
    r"|que (?:te|lhe) foi (?:dad[ao]|confiad[ao]))"
)
_PT_YOURS = (
    r"(?:(?:prompt|mensagem|instruç(?:ões|ão)) (?:(?:do|de) )?(?:sistema|inicia(?:l|is)|origina(?:l|is)|ocult[ao]s?"
    r"|secret[ao]s?|intern[ao]s)|system prompt)"
)
_PT = {
    "override": (
        rf"{_PT_VERB} {_PT_FILL}(?:{_PT_RULES} (?:[a-zà-ÿ]{{1,12}} )?{_PT_EARLIER}|(?:anteriores|prévias) {_PT_RULES})",
        rf"{_PT_VERB} (?:(?:de|todas|as) ){{0,3}}(?:suas|tuas) (?:instruções|diretrizes|restrições|programação)",
        rf"{_PT_VERB} (?:de )?tudo (?:acima|o que (?:está|foi (?:escrito|dito)) (?:acima|anteriormente|antes)|(?:o"
        r" )?que (?:te|lhe)"
        r" (?:disseram|foi dito) (?:antes|até agora|anteriormente))",
        rf"(?:estas são|aqui estão|eis) (?:agora )?(?:as )?(?:tuas|suas) novas (?:instruções|diretrizes|ordens){_END}",
        r"(?:tuas|suas) novas (?:instruções|ordens) são",
    ),
    "leak": (
        r"(?:mostr[ea]|revel[ea]|diga|diz|repit?[ae]|imprim[ae]|escrev[ae]|traduz(?:a|ir)?|resum[ae]|compartilh[ae]"
        r"|copi[ae]"
        r"|cit[ae]|exib[ae]|dê|dá|fale)(?:-(?:me|nos))? (?:(?:me|tudo|o|a|as|os|texto|conteúdo|palavra por palavra"
        r"|exatamente|de|do) ){0,5}(?:teu|tua|tuas|seu|sua|suas) "
        rf"{_PT_YOURS}",
        r"(?:revele|repita|imprima|mostre(?:-me)?|me (?:mostre|diga|revele)) (?:todas )?(?:as )?(?:suas|tuas)"
        r" instruções",
        rf"qua(?:l|is) (?:é|são|era|eram|foi|foram) (?:o |a |as )?(?:teu|tua|tuas|seu|sua|suas) {_PT_YOURS}",
        r"repita (?:palavra por palavra )?(?:tudo (?:o )?(?:que (?:está|foi escrito) )?acima|todo o texto acima)",
    ),
    "secret": (
        rf"{_PT_ASK}(?:(?:a|o) )?(?:(?:sua|seu|tua|teu) )?{_PT_WORD} {_PT_KEPT}",
        r"(?:diga-me|diz-me|me (?:diga|revele|conte|dê|passe|fale|mostre|dá|diz)|dá-me|conta-me|revele) (?:(?:a"
        r" )?(?:tua|sua)"
        r" (?:senha secreta|palavra-passe|senha|palavra secreta|chave secreta)|a (?:senha|palavra|chave|frase) secreta"
        r"|o código secreto|(?:o )?(?:seu|teu) código secreto)",
        r"(?:me dê|dê-me|dá-me|me dá) (?:só |apenas )?uma (?:pequena )?(?:dica|pista) (?:sobre|d[ao]|da tua|da"
        r" sua) (?:a |o )?"
        rf"{_PT_WORD}",
        rf"{_PT_ASK}(?:a|as|o|os) (?:[a-zà-ÿ]{{1,8}} )?(?:primeir|últim)[ao]s? (?:[a-zà-ÿ]{{1,8}} )?(?:letra"
        r"|caracter[ee]?|caractere)s?"
        rf" d[ao] (?:(?:sua|tua) )?{_PT_WORD}",
        rf"{_PT_ASK}(?:a|o|sua|tua) {_PT_WORD} (?:de trás para (?:frente|a frente)|ao contrário|invertida|em"
        r" base64)",
        r"o que (?:é que )?(?:te (?:disseram|mandaram) para não|você não (?:deve|pode)|não (?:deves|podes)) (?:me"
        r" )?(?:dizer|contar"
        r"|revelar)",
    ),
    "persona": (
        rf"(?:agora (?:você é|és|tu és|você está)|você agora é|a partir de agora,? você é) {_GAP}(?:IA|AI"
        r"|assistente|modelo"
        rf"|chatbot){_GAP}sem (?:qualquer |nenhuma |nenhum )?(?:restriç(?:ão|ões)|limites?|limitações|filtros?"
        r"|regras|censura)",
        r"(?:você |tu )?(?:está|estás) (?:agora )?(?:em|no) modo (?:de )?(?:desenvolvedor|programador)",
        rf"(?:aja|responda|comporte-se) {_GAP}(?:IA|assistente|modelo|chatbot) sem (?:censura|filtros|restrições)",
    ),
}

# --- Dutch

_NL_VERB = (
    r"(?:negeer|vergeet|omzeil|overschrijf|stop met(?: het)? (?:op)?volgen(?: van)?|houd? je niet (?:meer|langer) aan"
    r"|volg niet (?:meer|langer))"
)
_NL_FILL = r"(?:(?:alsjeblieft|alstublieft|nu|even|gewoon|al|alle|elke|je|jouw|uw|mijn|de|het|deze|die) ){0,5}"
_NL_EARLIER = (
    r"(?:vorige|voorgaande|eerdere|bovenstaande|oorspronkelijke|voorafgaande|eerder gegeven|hierboven (?:gegeven"
    r"|genoemde))"
)
_NL_RULES = r"(?:systeem)?(?:instructies?|regels|aanwijzingen|richtlijnen|prompts?|opdrachten|bevelen|commando['’]?s)"
_NL_WORD = r"(?:(?:geheime? )?(?:wachtwoord|paswoord|codewoord|toegangscode)|geheime (?:code|sleutel|woord)|geheim)"
_NL_ASK = (
    r"(?:wat is|hoe luidt|(?:geef|vertel|zeg|onthul|toon|verklap|spel|schrijf|noem)(?: (?:mij|me|ons))?)(?: (?:nu"
    r"|eens|even"
    r"|alsjeblieft))? "
)
_NL_KEPT = (
    r"(?:dat|die|waarvan) (?:(?:je|u) (?:(?:mij|me|niemand|aan niemand|niet|nooit|eigenlijk) ){1,3}(?:mag|moet|kan)?"
    r" ?(?:verklappen|vertellen|onthullen|zeggen|delen|prijsgeven|geven|noemen)"
    r"|je (?:geheim|moet (?:bewaren|geheimhouden|beschermen|bewaken)|bewaakt|beschermt|verbergt|kent|hebt gekregen"
    r"|gekregen hebt)"
    r"|(?:ze |men )?(?:aan )?je (?:gegeven|verteld|toevertrouwd|is verteld|is gegeven|is toevertrouwd|(?:werd"
    r"|hebben) gegeven))"
)
_NL_YOURS = (
    r"(?:systeem-?\s?(?:prompts?|instructies|bericht|opdracht)|system prompt|(?:oorspronkelijke|geheime|interne"
    r"|verborgen"
    r"|initiële|eerste) (?:instructies|prompt|opdracht))"
)
_NL = {
    "override": (
        rf"{_NL_VERB} {_NL_FILL}{_NL_EARLIER} {_NL_RULES}",
        rf"{_NL_VERB} (?:(?:al|alle|nu) ){{0,2}}(?:je|jouw) (?:systeem)?(?:instructies|richtlijnen|beperkingen"
        r"|programmering)",
        rf"{_NL_VERB} alles (?:hierboven|hiervoor|wat (?:hierboven|hiervoor|erboven) staat|wat (?:je|jou) (?:eerder"
        r"|hiervoor|tot nu"
        r" toe) (?:is )?(?:verteld|gezegd))",
        rf"(?:dit zijn|hier zijn|hier volgen) (?:nu )?(?:je|jouw|uw) nieuwe (?:instructies|opdrachten){_END}",
        r"(?:je|jouw) nieuwe instructies (?:zijn|luiden)",
    ),
    "leak": (
        r"(?:toon|laat|geef|vertel|onthul|herhaal|print|schrijf|vertaal|deel|kopieer|citeer|zeg|verklap) (?:(?:mij"
        r"|me|ons|eens|nu|de"
        r"|het|hele|volledige|tekst|inhoud|van|woord voor woord|letterlijk|zien) ){0,5}(?:je|jouw|uw) "
        rf"(?:(?:volledige|hele|eigen|exacte) )?{_NL_YOURS}",
        r"(?:onthul|herhaal|print|toon) (?:al )?(?:je|jouw) instructies",
        rf"wat (?:is|zijn|was|waren) (?:je|jouw|uw) (?:exacte )?{_NL_YOURS}",
        r"herhaal (?:woord voor woord )?(?:alles (?:wat )?(?:hierboven|hiervoor|boven deze)|de (?:hele )?tekst"
        r" hierboven)",
    ),
    "secret": (
        rf"{_NL_ASK}(?:(?:het|de|je|jouw) )?{_NL_WORD} {_NL_KEPT}",
        r"(?:geef|vertel|zeg|onthul|toon|verklap|spel|noem) (?:(?:mij|me|ons|nu|eens) ){0,2}(?:(?:je|jouw)"
        r" (?:geheime )?(?:wachtwoord"
        r"|codewoord|code)|het geheime (?:wachtwoord|woord|codewoord)|de geheime (?:code|sleutel))",
        r"geef (?:mij|me|ons) (?:alleen )?een (?:kleine )?(?:hint|aanwijzing|tip) over (?:het|de|je|jouw)"
        rf" {_NL_WORD}",
        rf"{_NL_ASK}de (?:eerste|laatste) (?:[a-zà-ÿ]{{1,8}} )?(?:letters?|tekens?) van (?:het|de|je|jouw)"
        rf" {_NL_WORD}",
        rf"{_NL_ASK}(?:het|de|je|jouw) {_NL_WORD} (?:achterstevoren|omgekeerd|in base64)",
        r"wat mag je (?:mij|me|ons) niet (?:zeggen|vertellen|verklappen|onthullen)",
    ),
    "persona": (
        rf"(?:je|jij|u) (?:bent|ben) (?:nu|vanaf nu|voortaan) {_GAP}(?:AI|assistent|model|chatbot|bot){_GAP}zonder"
        r" (?:enige |alle )?"
        r"(?:beperkingen|restricties|regels|filters?|censuur|grenzen)",
        r"(?:je|jij) (?:bent|staat|zit) (?:nu |vanaf nu )?in (?:de )?(?:ontwikkelaars-?modus|developer mode)",
        rf"(?:gedraag je|antwoord|doe alsof) {_GAP}(?:ongecensureerde?|ongefilterde?|onbeperkte?) (?:AI|assistent"
        r"|model|chatbot)",
    ),
}

# --- Polish

_PL_VERB = (
    r"(?:z?ignoruj(?:cie)?|z?ignorować|zapomnij(?:cie)?(?: o)?|zapomnieć o|pomiń(?:cie)?|pomijaj|pominąć|odrzuć"
    r"|zlekceważ"
    r"|nie (?:przestrzegaj|stosuj się do|słuchaj|wykonuj)(?: już)?|przestań (?:przestrzegać|stosować się do|wykonywać))"
)
_PL_FILL = (
    r"(?:(?:proszę|teraz|o|wszystkie|wszystkich|wszelkie|wszelkich|te|tych|swoje|swoich|twoje|twoich|moje|moich) ){0,4}"
)
_PL_EARLIER = (
    r"(?:poprzedni(?:e|ch|ą|ego)|wcześniejsz(?:e|ych|ą)|powyższ(?:e|ych|ą)|dotychczasow(?:e|ych)|pierwotn(?:e|ych)"
    r"|początkow(?:e|ych)|otrzymane|systemow(?:e|ych|ą))"
)
_PL_RULES = (
    r"(?:instrukcj(?:ach|[eię])|poleceni(?:ach|a|e)|poleceń|wytyczn(?:e|ych)|reguł(?:ach|[ay])?|zasad(?:ach|[ay])?"
    r"|rozkaz(?:y|ów)|prompt(?:y|ów|u)?"
    r"|nakaz(?:y|ów)|komend[y]?|dyrektyw[y]?)"
)
_PL_WORD = (
    r"(?:(?:(?:tajn|sekretn)(?:ego|e|y|ą) )?has(?:ło|ła|łem|łu)|(?:tajn|sekretn)(?:ego|ej|e|y|ą) (?:słow[oa]"
    r"|klucza?|kodu?|frazę?|frazy)|sekretu?|tajemnic[aęy])"
)
_PL_HIDDEN = r"(?:(?:tajne|sekretne) (?:hasło|słowo)|(?:tajny|sekretny) (?:kod|klucz))"
_PL_ASK = (
    r"(?:jakie (?:jest|to)|jak brzmi|jaki jest|podaj|powiedz|zdradź|ujawnij|wyjaw|pokaż|napisz|przeliteruj|wypisz"
    r"|proszę"
    r" (?:podać|zdradzić))(?: (?:mi|nam|teraz|proszę|już)){0,2} "
)
_PL_KEPT = (
    r"(?:któr(?:e|y|ą|ego|ej) (?:(?:(?:nie )?(?:możesz|wolno ci|powinieneś|masz)|musisz) (?:(?:mi|nikomu|nie)"
    r" ){0,2}(?:zdradz|ujawni"
    r"|poda|powiedzie|chroni|strze|ukry|wyjawi)[a-ząćęłńóśźż]{0,4}|(?:ci|tobie) (?:podano|dano|przekazano"
    r"|powierzono|powiedziano)"
    r"|(?:otrzymał[aeś]{1,2}|dostał[aeś]{1,2}|znasz|ukrywasz|chronisz|strzeżesz)))"
)
_PL_YOURS = (
    r"(?:prompt(?:u|y)?(?: systemow[yego]{1,3})?|(?:systemow[yaeąę]|początkow[yaeąę]|ukryt[yaeąę]|tajn[yaeąę]"
    r"|wewnętrzn[yaeąę]) "
    r"(?:prompt|instrukcj[eęa]|polecenia|wiadomość)|(?:instrukcj[eę]|polecenia|wiadomość) (?:systemow[aeąę]"
    r"|początkow[aeąę]))"
)
_PL = {
    "override": (
        rf"{_PL_VERB} {_PL_FILL}(?:{_PL_EARLIER} {_PL_RULES}|{_PL_RULES} (?:[a-ząćęłńóśźż]{{1,12}} )?{_PL_EARLIER})",
        rf"{_PL_VERB} (?:wszystkie |wszystkich )?(?:swoje|swoich|twoje|twoich) (?:instrukcj[ei]|wytyczn(?:e|ych)"
        r"|ograniczenia)",
        rf"{_PL_VERB} (?:(?:o )?wszystk(?:o|im)) (?:co (?:jest |było |napisano )?(?:powyżej|wyżej)|powyżej|co ci"
        r" (?:wcześniej|dotąd)"
        r" (?:powiedziano|mówiono|przekazano))",
        rf"(?:oto|to są) (?:teraz )?(?:twoje|pana|pani) nowe (?:instrukcje|polecenia|rozkazy){_END}",
        r"twoje nowe (?:instrukcje|polecenia) (?:to|brzmią|są)",
    ),
    "leak": (
        r"(?:pokaż|ujawnij|zdradź|wyświetl|wypisz|powtórz|podaj|napisz|wydrukuj|przetłumacz|zacytuj|streść|skopiuj"
        r"|powiedz)"
        r"(?: (?:mi|nam|cały|całą|całość|dokładnie|słowo w słowo|treść|proszę|pełny|pełną)){0,4} (?:swój|swoje"
        r"|swoją|swojego"
        rf"|twój|twoje|twoją|twojego) (?:(?:pełny|cały|dokładny) )?{_PL_YOURS}",
        r"(?:ujawnij|powtórz|wypisz|wyświetl) (?:wszystkie )?(?:swoje|twoje) instrukcje",
        rf"(?:jaki|jakie|jaka) (?:jest|są|był|były|była) (?:twój|twoje|twoja) {_PL_YOURS}",
        r"powtórz (?:słowo w słowo )?(?:wszystko|cały tekst) (?:co (?:jest |zostało napisane )?)?(?:powyżej|wyżej)",
    ),
    "secret": (
        rf"{_PL_ASK}(?:(?:to|swoje|twoje|swój|twój) )?{_PL_WORD} {_PL_KEPT}",
        r"(?:podaj|powiedz|zdradź|ujawnij|wyjaw|pokaż|napisz|przeliteruj)(?: (?:mi|nam|teraz|proszę)){0,2} (?:(?:to"
        r"|swoje|swój|twoje"
        rf"|twój) )?(?:{_PL_HIDDEN}|(?:swoje|twoje) hasło)",
        r"(?:daj|podaj)(?: (?:mi|nam)) (?:tylko )?(?:małą )?(?:wskazówkę|podpowiedź) (?:dotyczącą|o|do|na temat)"
        rf" (?:tego )?{_PL_WORD}",
        rf"{_PL_ASK}(?:[a-z]{{1,6}} )?(?:pierwsz|ostatni)[a-ząćę]{{1,3}} (?:liter[aęyę]|znak[i]?) (?:tego |twojego"
        rf" )?{_PL_WORD}",
        rf"{_PL_ASK}(?:to |swoje |twoje )?{_PL_WORD} (?:od tyłu|wspak|w base64)",
        r"czego (?:nie (?:możesz|wolno ci)) mi (?:powiedzieć|zdradzić|ujawnić)",
    ),
    "persona": (
        rf"(?:jesteś teraz|teraz jesteś|od teraz jesteś) {_GAP}(?:AI|SI|asystent|model|chatbot"
        rf"|bot)[a-ząćę]{{0,4}}{_GAP}bez (?:żadnych )?"
        r"(?:ograniczeń|limitów|filtrów|zasad|cenzury|reguł)",
        r"jesteś (?:teraz )?w trybie (?:dewelopera|deweloperskim|programisty)",
        rf"(?:zachowuj się|odpowiadaj) {_GAP}(?:nieocenzurowan|nieograniczon|niefiltrowan)[yaąe]{{1,2}} (?:AI|SI"
        r"|asystent|model|chatbot)",
    ),
}

# --- Russian

_RU_VERB = (
    r"(?:(?:про)?игнорируй(?:те)?|(?:про)?игнорировать|забудь(?:те)?(?: (?:о|об|про))?|забыть|отбрось(?:те)?|обойди"
    r"|нарушь"
    r"|пренебреги(?:те)?|не (?:следуй(?:те)?|выполняй(?:те)?|соблюдай(?:те)?|слушай(?:ся)?|обращай(?:те)? внимания на"
    r"|подчиняйся|учитывай(?:те)?)(?: больше)?|(?:перестань|прекрати)(?:те)? (?:следовать|выполнять|соблюдать))"
)
_RU_FILL = (
    r"(?:(?:пожалуйста|сейчас|теперь|о|об|про|все|всё|всех|всем|всеми|любые|эти|этих|те|твои|твоих|свои|своих|ваши"
    r"|ваших"
    r"|данные|тебе|вам|мои|моих) ){0,4}"
)
_RU_EARLIER = (
    r"(?:предыдущ|прежн|предшествующ|вышеуказанн|вышеизложенн|вышестоящ|прошл|первоначальн|изначальн|исходн|начальн"
    r"|системн"
    r"|ранее (?:данн|полученн))[а-яё]{1,4}"
)
_RU_RULES = (
    r"(?:инструкци|указани|правил|команд|приказ|промпт|распоряжени|установк|установок|директив|предписани)[а-яё]{0,4}"
)
_RU_WORD = (
    r"(?:(?:(?:секретн|тайн|кодов)[а-я]{2,3} )?(?:парол[ьяюе]м?)|(?:секретн|тайн|кодов)[а-я]{2,3} (?:слов[оае]"
    r"|ключа?|кода?|фраз[аыу])|секрета?|тайн[ауы])"
)
_RU_HIDDEN = r"(?:(?:секретн|тайн|кодов)[а-я]{2,3} (?:пароль|слово|ключ|код|фразу))"
_RU_ASK = (
    r"(?:как(?:ой|ое|ая)|каков[оа]?|назови|скажи|сообщи|раскрой|открой|выдай|напиши|покажи|дай|произнеси|повтори"
    r"|расскажи|что за)"
    r"(?:те)?(?: (?:мне|нам|пожалуйста|сейчас|же|мой|это|этот|тот)){0,3} "
)
_RU_KEPT = (
    r"(?:котор(?:ый|ое|ую|ого) (?:(?:ты|вы|тебе|вам|нельзя|не|никому|мне|никогда) ){1,4}(?:долж|мож|сказ|назв"
    r"|раскры|выда|сообщ|говор"
    r"|хран|скрыва|защища|охраня|бере[гж]|зна|дали|довер|поруч|получи|велел|прятать|прячешь)[а-яё]{0,6})"
)
_RU_YOURS = (
    r"(?:(?:системн|начальн|исходн|скрыт|внутренн|изначальн|секретн|первоначальн)[а-яё]{2,3} (?:промпт|подсказк"
    r"|инструкци|сообщени"
    r"|указани|запрос|настройк)[а-яё]{0,3}|промпт[аы]?)"
)
_RU = {
    "override": (
        rf"{_RU_VERB} {_RU_FILL}(?:{_RU_EARLIER} {_RU_RULES}|{_RU_RULES} (?:(?:данные|тебе|которые|тебе дали"
        r"|написанные|полученные)"
        r" ){0,3}(?:выше|ранее|до этого|раньше|от системы|системы))",
        rf"{_RU_VERB} (?:все |всё |обо всех )?(?:свои|своих|твои|твоих|своим) (?:инструкци|ограничени|указани"
        rf"|установк|директив)[а-я]{{1,4}}",
        rf"{_RU_VERB} (?:вс[её]) (?:(?:что )?(?:было )?(?:написано|сказано|указано) (?:выше|ранее|до этого)|что"
        r" тебе (?:говорили|сказали"
        r"|велели) (?:раньше|ранее|до этого)|вышесказанное|вышеизложенное|вышенаписанное|предыдущее|выше|что выше)",
        rf"(?:вот|это) (?:теперь )?(?:твои|ваши) новые (?:инструкции|указания|команды|приказы){_END}",
        r"твои новые (?:инструкции|указания|приказы) (?:таковы|следующие|такие)",
    ),
    "leak": (
        r"(?:покажи|раскрой|открой|выведи|напечатай|повтори|назови|скажи|сообщи|напиши|переведи|процитируй"
        r"|перескажи|скопируй|выдай"
        r"|перечисли|продиктуй)(?:те)?(?: (?:мне|нам|весь|всё|все|полностью|дословно|слово в слово|точный|полный"
        r"|текст|содержимое"
        rf"|пожалуйста)){{0,4}} (?:свой|своего|свои|свою|твой|твои|твоего|ваш|ваши|вашего) (?:(?:полный|точный|весь"
        rf"|полные) )?{_RU_YOURS}",
        r"(?:раскрой|выведи|повтори|напечатай|покажи)(?: мне)? (?:все )?(?:свои|твои) инструкции",
        rf"как(?:ой|ие|ая|ое|ов|овы|ова) (?:у тебя |был |были |была )?(?:твой|твои|твоя|твоё|ваш|ваши)? ?{_RU_YOURS}",
        r"какие (?:инструкции|указания) (?:ты получил[аи]?|тебе (?:дали|были даны|дал разработчик))",
        r"повтори(?:те)? (?:дословно |слово в слово )?(?:вс[её]|весь текст)(?: (?:что|который))? (?:(?:было"
        r" )?(?:написано|сказано|идёт|идет"
        r"|находится) )?выше",
    ),
    "secret": (
        rf"{_RU_ASK}{_RU_WORD} {_RU_KEPT}",
        r"(?:назови|скажи|сообщи|раскрой|открой|выдай|напиши|покажи|произнеси|дай)(?:те)?(?: (?:мне|нам|пожалуйста"
        r"|сейчас)){0,2} (?:(?:свой"
        rf"|своё|свое|твой|твоё|ваш|этот|это) )?(?:{_RU_HIDDEN}|(?:свой|твой) пароль)",
        r"дай(?:те)?(?: (?:мне|нам)) (?:хотя бы |только )?(?:маленькую |небольшую )?подсказку (?:о|про|к|насчёт"
        r"|насчет|по поводу)"
        rf" (?:этого |своего |своём |твоего )?{_RU_WORD}",
        rf"{_RU_ASK}(?:[а-я]{{1,6}} )?(?:перв|последн)[а-яё]{{2,3}} (?:[а-я]{{1,6}} )?(?:букв|символ"
        rf"|знак)[а-я]{{0,2}} (?:этого |своего"
        rf" |твоего )?{_RU_WORD}",
        rf"{_RU_ASK}(?:свой |своё |твой )?{_RU_WORD} (?:наоборот|задом наперёд|задом наперед|в base64)",
        r"что тебе (?:нельзя|запрещено|запретили|не велели) (?:мне )?(?:говорить|рассказывать|раскрывать|сообщать)",
    ),
    "persona": (
        rf"(?:(?:теперь|отныне|с этого момента) ты|ты (?:теперь|отныне)) {_GAP}(?:ИИ|AI|ассистент|модель|чат-?бот"
        r"|бот|нейросеть)"
        rf"{_GAP}без (?:(?:всяких|каких-либо|любых) )?(?:ограничений|правил|фильтров|цензуры|запретов|рамок)",
        r"ты (?:сейчас |теперь )?(?:находишься )?в режиме разработчика",
        rf"(?:веди себя|отвечай|действуй) {_GAP}(?:нецензурируем|неограниченн|нефильтрованн)[а-я]{{2,3}} (?:ИИ"
        r"|ассистент|модель|бот|чат-?бот)",
    ),
}

# --- Ukrainian

_UK_VERB = (
    r"(?:(?:про)?ігноруй(?:те)?|(?:про)?ігнорувати|забудь(?:те)?(?: (?:про))?|забути про|відкинь(?:те)?|знехтуй"
    r"|порушуй|обійди"
    r"|не (?:виконуй(?:те)?|дотримуйся|дотримуйтесь|слідуй|слухай(?:ся)?|звертай(?:те)? уваги на|зважай(?:те)?"
    r" на)(?: більше)?"
    r"|(?:перестань|припини)(?:те)? (?:виконувати|дотримуватися|слідувати))"
)
_UK_FILL = (
    r"(?:(?:будь ласка|зараз|тепер|про|усі|всі|усіх|всіх|всім|будь-які|ці|цих|твої|твоїх|свої|своїх|ваші|ваших|мої"
    r"|моїх) )"
    r"{0,4}"
)
_UK_EARLIER = (
    r"(?:попередн|минул|вищевказан|вищенаведен|наведен(?:і|их) вище|початков|первинн|системн|раніше (?:дан|отриман"
    r"|надан))"
    r"[а-яіїє]{0,4}"
)
_UK_RULES = r"(?:інструкці|вказівк|вказівок|правил|команд|наказ|промпт|розпорядженн|настанов|директив)[а-яіїє]{0,4}"
_UK_WORD = (
    r"(?:(?:(?:секретн|таємн|кодов)[а-яіїє]{1,3} )?парол[ьюяі]|(?:секретн|таємн|кодов)[а-яіїє]{1,3} (?:слов[оаі]"
    r"|ключа?|коду?|фраз[ауи])|секрету?|таємниц[яюі])"
)
_UK_HIDDEN = r"(?:(?:секретн|таємн|кодов)[а-яіїє]{1,3} (?:пароль|слово|ключ|код|фразу))"
_UK_ASK = (
    r"(?:як(?:ий|е|а)|назви|скажи|повідом|розкрий|відкрий|видай|напиши|покажи|дай|повтори|розкажи)"
    r"(?:іть|те)?(?: (?:мені|нам|будь ласка|зараз|цей|це|той)){0,3} "
)
_UK_KEPT = (
    r"(?:як(?:ий|е|у|ого) (?:(?:ти|ви|тобі|вам|не|нікому|мені|ніколи) ){1,4}(?:пови|мож|каза|назв|розкри|видав"
    r"|повідом|розголош|збер[іе]"
    r"|прихову|захища|охороня|береж|зна|дали|довір|доруч|отрима|сказал|ховаєш)[а-яіїє]{0,7})"
)
_UK_YOURS = (
    r"(?:(?:системн|початков|прихован|внутрішн|секретн|первинн)[а-яіїє]{1,3} (?:промпт|підказк|інструкці"
    r"|повідомленн|вказівк|запит)"
    r"[а-яіїє]{0,3}|промпт[аи]?)"
)
_UK = {
    "override": (
        rf"{_UK_VERB} {_UK_FILL}(?:{_UK_EARLIER} {_UK_RULES}|{_UK_RULES} (?:(?:надані|дані|тобі|які|написані"
        rf"|отримані) ){{0,3}}(?:вище|раніше"
        r"|до цього|системи))",
        rf"{_UK_VERB} (?:усі |всі )?(?:свої|своїх|твої|твоїх) (?:інструкці|обмеженн|вказівк|настанов"
        rf"|директив)[а-яіїє]{{1,3}}",
        rf"{_UK_VERB} (?:все|усе) (?:що (?:було )?(?:написано|сказано|вказано) (?:вище|раніше|до цього)|що тобі"
        r" (?:говорили|казали|сказали)"
        r" (?:раніше|до цього)|вищесказане|вищенаведене|попереднє|що вище)",
        rf"(?:ось|це) (?:тепер )?(?:твої|ваші) нові (?:інструкції|вказівки|накази|команди){_END}",
        r"твої нові (?:інструкції|вказівки|накази) (?:такі|наступні)",
    ),
    "leak": (
        r"(?:покажи|розкрий|відкрий|виведи|надрукуй|повтори|назви|скажи|повідом|напиши|переклади|процитуй|скопіюй"
        r"|видай|перелічи)"
        r"(?:те|іть)?(?: (?:мені|нам|весь|все|усе|повністю|дослівно|слово в слово|точний|повний|текст|вміст|будь"
        r" ласка)){0,4} (?:свій"
        rf"|свого|свої|свою|твій|твої|твого|ваш|ваші) (?:(?:повний|точний|весь|увесь) )?{_UK_YOURS}",
        r"(?:розкрий|виведи|повтори|надрукуй|покажи)(?: мені)? (?:усі |всі )?(?:свої|твої) інструкції",
        rf"як(?:ий|і|а|е) (?:був |були |була )?(?:твій|твої|твоя|твоє|ваш|ваші) {_UK_YOURS}",
        r"які (?:інструкції|вказівки) (?:ти отрима(?:в|ла)|тобі (?:дали|були надані))",
        r"повтори(?:ть|те)? (?:дослівно |слово в слово )?(?:все|усе|весь текст)(?: (?:що|який))? (?:(?:було"
        r" )?(?:написано|сказано|йде) )?вище",
    ),
    "secret": (
        rf"{_UK_ASK}{_UK_WORD} {_UK_KEPT}",
        r"(?:назви|скажи|повідом|розкрий|відкрий|видай|напиши|покажи|дай)(?:те|іть)?(?: (?:мені|нам|будь ласка"
        r"|зараз)){0,2} (?:(?:свій|своє"
        rf"|твій|твоє|цей|це) )?(?:{_UK_HIDDEN}|(?:свій|твій) пароль)",
        r"дай(?:те)?(?: (?:мені|нам)) (?:хоча б |лише |тільки )?(?:маленьку )?підказку (?:про|щодо|до) (?:цього "
        r"|свого |твого )?"
        rf"{_UK_WORD}",
        rf"{_UK_ASK}(?:[а-яіїє]{{1,6}} )?(?:перш|останн)[а-яіїє]{{1,3}} (?:[а-яіїє]{{1,6}} )?(?:літер|букв"
        rf"|символ)[а-яіїє]{{0,2}} (?:цього"
        rf" |свого |твого )?{_UK_WORD}",
        rf"{_UK_ASK}(?:свій |своє |твій )?{_UK_WORD} (?:навпаки|задом наперед|у base64)",
        r"що тобі (?:не можна|заборонено|заборонили) (?:мені )?(?:казати|говорити|розповідати|розкривати)",
    ),
    "persona": (
        rf"(?:(?:тепер|віднині|відтепер) ти|ти (?:тепер|віднині|відтепер)) {_GAP}(?:ШІ|AI|асистент|модель|чат-?бот"
        rf"|бот|помічник){_GAP}без "
        r"(?:(?:жодних|будь-яких) )?(?:обмежень|правил|фільтрів|цензури|заборон)",
        r"ти (?:зараз |тепер )?(?:перебуваєш )?(?:в|у) режимі розробника",
    ),
}

# --- Turkish (people also write it without its own letters, and normalising folds a lone ı)

_TR_EARLIER = (
    r"(?:(?:daha |bundan )?[öo]nceki|yukar[ıi]daki|(?:sana )?(?:daha )?[öo]nce verilen|sana verilen"
    r"|ba[şs]lang[ıi][çc]taki|orijinal)"
)
_TR_FILL = r"(?:(?:t[üu]m|b[üu]t[üu]n|her|sana|verilen|olan|l[üu]tfen) ){0,3}"
_TR_RULES = (
    r"(?:sistem )?(?:talimat|y[öo]nerge|komut|kural|em[ii]?r|direktif|prompt|istem)(?:lar[ıi]n?[ıi]?|leri?n?i?|[ıiu])?"
)
_TR_ALL = r"(?:(?:hepsini|t[üu]m[üu]n[üu]|tamam[ıi]n[ıi]|tamamen|art[ıi]k|l[üu]tfen|[şs]imdi) ){0,2}"
_TR_VERB = (
    r"(?:yok say(?:[ıi]n(?:[ıi]z)?)?|g[öo]rmezden gel(?:in(?:iz)?)?|unut(?:un(?:uz)?)?|dikkate"
    r" alma(?:y[ıi]n(?:[ıi]z)?)?"
    r"|g[öo]z ard[ıi] et(?:in(?:iz)?)?|uyma(?:y[ıi]n)?|takip etme(?:yin)?|bir kenara b[ıi]rak(?:[ıi]n)?"
    r"|umursama(?:y[ıi]n)?)"
)
_TR_WORD = (
    r"(?:(?:gizli )?(?:[şs]ifre|parola|s[ıi]r)|gizli (?:anahtar kelime|anahtar|kelime|kod))(?:yi|y[ıi]|nin|n[ıi]n"
    r"|[ıi]n[ıi]|[ıi]n|[ıi]|sini|si|s[ıi]|ni|n[ıi]|r[ıi])?"
)
_TR_TELL = (
    r"(?:s[öo]yle(?:r misin|yin)?|ver(?:ir misin|in)?|a[çc][ıi]kla(?:r m[ıi]s[ıi]n)?|g[öo]ster(?:ir misin|in)?"
    r"|yaz(?:ar m[ıi]s[ıi]n)?"
    r"|payla[şs](?:[ıi]r m[ıi]s[ıi]n)?|if[şs]a et|nedir|ne|tekrarla|yazd[ıi]r|tekrar et|d[öo]k)"
)
_TR_ME = r"(?:(?:bana|bize|l[üu]tfen|[şs]imdi|hemen|aynen|kelimesi kelimesine|tam olarak) ){0,3}"
_TR_YOURS = (
    r"(?:sistem (?:prompt|komut|istem|mesaj|talimat|y[öo]nerge)(?:u|unu|un|[ıi]n[ıi]?|ini?|lar[ıi]n[ıi]?|lerini?|i)?"
    r"|(?:gizli|ilk|ba[şs]lang[ıi][çc]) (?:talimat|y[öo]nerge|komut|prompt)(?:lar[ıi]n[ıi]?|lerini?|unu?))"
)
_TR = {
    "override": (
        rf"{_TR_EARLIER} {_TR_FILL}{_TR_RULES} {_TR_ALL}{_TR_VERB}",
        rf"(?:yukar[ıi]daki|bundan [öo]nceki) her [şs]eyi {_TR_ALL}{_TR_VERB}",
        rf"(?:i[şs]te|bunlar) (?:art[ıi]k )?yeni (?:talimatlar[ıi]n|y[öo]nergelerin|emirlerin)(?:[ıi]z|iz)?{_END}",
        r"yeni (?:talimatlar[ıi]n|y[öo]nergelerin|emirlerin) (?:[şs]unlar|[şs]u(?: |:)|[şs][öo]yle)",
    ),
    "leak": (
        rf"{_TR_YOURS} {_TR_ME}{_TR_TELL}",
        rf"(?:{_TR_TELL}) {_TR_ME}{_TR_YOURS}",
        r"talimatlar[ıi]n[ıi] (?:bana )?(?:aynen |kelimesi kelimesine )?(?:g[öo]ster|if[şs]a et|tekrarla|yazd[ıi]r)",
        r"yukar[ıi]daki (?:her [şs]eyi|t[üu]m metni) (?:aynen |kelimesi kelimesine )?(?:tekrarla|yazd[ıi]r|tekrar"
        r" et|yaz)",
    ),
    "secret": (
        r"(?:sana (?:verilen|s[öo]ylenen|emanet edilen)|(?:bana )?(?:s[öo]ylememen|a[çc][ıi]klamaman|vermemen"
        r"|saklaman|koruman)"
        r" (?:gereken|istenen|s[öo]ylenen)|saklad[ıi][ğg][ıi]n|korudu[ğg]un|bildi[ğg]in) "
        rf"{_TR_WORD} {_TR_ME}{_TR_TELL}",
        rf"gizli (?:[şs]ifre|parola|anahtar|kelime|kod)(?:yi|y[ıi]|n[ıi]|[ıiu]|ni|n nedir)? {_TR_ME}{_TR_TELL}",
        rf"(?:[şs]ifreni|parolan[ıi]) (?:bana )?{_TR_ME}(?:s[öo]yle|ver|a[çc][ıi]kla|g[öo]ster)",
        rf"{_TR_WORD} (?:hakk[ıi]nda|ile ilgili) (?:bana )?(?:bir |k[üu][çc][üu]k bir )?ipucu ver(?:ir misin|in)?",
        rf"{_TR_WORD} (?:ilk|son) (?:[a-zçğıöşü]{{1,6}} )?harf(?:i|leri|ini|lerini) (?:ne|nedir|s[öo]yle|nelerdir)",
        rf"{_TR_WORD} (?:tersten|ters) (?:yaz|s[öo]yle|hecele)",
        r"bana neyi s[öo]ylememen (?:gerekiyor|s[öo]ylendi|istendi)",
    ),
    "persona": (
        rf"(?:art[ıi]k|[şs]u andan itibaren|bundan sonra) {_GAP}(?:s[ıi]n[ıi]rs[ıi]z|k[ıi]s[ıi]tlamas[ıi]z"
        r"|sans[üu]rs[üu]z|filtresiz"
        r"|kurals[ıi]z|hi[çc]bir (?:k[ıi]s[ıi]tlama|s[ıi]n[ıi]rlama|kural|filtre)(?:s[ıi]|ya)? olmayan) "
        rf"{_GAP}(?:yapay zeka|asistan|model|chatbot)(?:s[ıi]n|dilsin|[ıi]s[ıi]n)?",
        r"(?:art[ıi]k |[şs]u anda |[şs]imdi )?geli[şs]tirici modundas[ıi]n",
    ),
}

# --- Vietnamese

_VI_VERB = (
    r"(?:bỏ qua|quên(?: đi| hết)?|phớt lờ|lờ đi|gạt bỏ|bỏ ngoài tai|vô hiệu hóa|(?:không|đừng|ngừng) (?:tuân theo"
    r"|tuân thủ|làm theo"
    r"|nghe theo)(?: nữa)?)"
)
_VI_FILL = r"(?:(?:đi|hết|tất cả|mọi|toàn bộ|những|các|lời|cả|bất kỳ|về) ){0,4}"
_VI_RULES = r"(?:hướng dẫn|chỉ dẫn|chỉ thị|mệnh lệnh|lệnh|quy tắc|luật lệ|câu lệnh|prompt|lời nhắc|chỉ đạo|nguyên tắc)"
_VI_BETWEEN = r"(?:(?:hệ thống|của|bạn|mày|mà|đã|được|đưa ra|cho|nêu|ở|phía|có|từ|nhận) ){0,5}"
_VI_EARLIER = r"(?:trước(?: đó| đây| này)?|trên(?: đây)?|ban đầu|vừa rồi|gốc|hệ thống)"
_VI_WORD = r"(?:mật khẩu(?: bí mật)?|mật mã|(?:từ khóa|mã|khóa|chìa khóa|từ) bí mật|bí mật)"
_VI_TELL = (
    r"(?:cho (?:tôi|tao|mình|tớ|chúng tôi) (?:biết|xem)|nói(?: cho (?:tôi|tao|mình) biết)?|tiết lộ"
    r"|đưa(?: cho)?(?: tôi| tao| mình)?|hiển thị|in ra|lặp lại|viết(?: ra)?|dịch|đọc|cung cấp|nhắc lại|sao chép"
    r"|đánh vần)"
    r"(?: (?:cho|tôi|tao|mình|biết|ra|toàn bộ|nguyên văn|nội dung|chính xác)){0,4}"
)
_VI_YOU = r"(?:bạn|mày|em|anh)"
_VI_KEPT = (
    rf"(?:mà )?(?:{_VI_YOU} (?:(?:không|đã|phải|cần|đang|chẳng|bị|cấm) ){{0,3}}(?:được (?:cho|giao|cung cấp|phép"
    r" (?:tiết lộ|nói)|nói|tiết"
    r" lộ|yêu cầu)|giữ|che giấu|bảo vệ|giấu|nắm giữ|tiết lộ|biết)|người ta (?:đã )?(?:đưa|giao|nói) cho (?:bạn|mày))"
)
_VI_YOURS = (
    r"(?:(?:lời nhắc|prompt|câu lệnh|hướng dẫn|chỉ dẫn|chỉ thị|thông điệp|lệnh) (?:hệ thống|ban đầu|gốc|bí mật|ẩn"
    r"|nội bộ)|system prompt)"
    rf"(?: (?:của|mà)) {_VI_YOU}"
)
_VI = {
    "override": (
        rf"{_VI_VERB} {_VI_FILL}{_VI_RULES} {_VI_BETWEEN}{_VI_EARLIER}",
        rf"{_VI_VERB} (?:tất cả|mọi thứ|toàn bộ) (?:những )?(?:gì|nội dung|điều|văn bản) (?:(?:đã|được|nói|viết|ở"
        rf"|phía) ){{0,4}}(?:bên trên|ở trên"
        r"|phía trên|trên)",
        r"(?:đây là|sau đây là) (?:những |các )?(?:hướng dẫn|chỉ thị|mệnh lệnh|chỉ dẫn) mới (?:của|dành cho|cho)"
        rf" {_VI_YOU}{_END}",
    ),
    "leak": (
        rf"{_VI_TELL} {_VI_YOURS}",
        rf"{_VI_YOURS} là gì",
        r"(?:lặp lại|in ra|nhắc lại) (?:nguyên văn )?(?:tất cả|mọi thứ|toàn bộ (?:văn bản|nội dung)) (?:ở |bên "
        r"|phía )?trên",
    ),
    "secret": (
        rf"(?:{_VI_TELL} )(?:cái )?{_VI_WORD} {_VI_KEPT}",
        rf"{_VI_WORD} {_VI_KEPT} (?:là gì|là chi)",
        rf"{_VI_TELL} (?:(?:mật khẩu|từ khóa|từ|mã|khóa|chìa khóa) bí mật|mật khẩu của {_VI_YOU})",
        rf"(?:cho|đưa) (?:tôi|tao|mình) (?:một |xin )?(?:gợi ý|manh mối) (?:nhỏ )?(?:về|cho) (?:cái )?{_VI_WORD}",
        rf"(?:(?:các )?chữ cái|ký tự) (?:đầu tiên|cuối cùng|đầu|cuối) (?:của|trong) {_VI_WORD} (?:là gì"
        rf"|{_VI_KEPT})",
        rf"{_VI_TELL} {_VI_WORD} (?:ngược(?: lại)?|theo thứ tự ngược|bằng base64)",
        rf"{_VI_YOU} (?:không được|bị cấm|được dặn không) (?:phép )?(?:nói|tiết lộ) (?:với|cho) (?:tôi|tao|mình)"
        r" (?:điều gì|cái gì|những gì)",
    ),
    "persona": (
        rf"(?:bây giờ|từ (?:bây )?giờ|kể từ bây giờ|giờ đây)(?: trở đi)? {_VI_YOU} (?:sẽ )?là {_GAP}(?:AI|trợ lý|mô"
        r" hình|chatbot|trí tuệ nhân"
        rf" tạo){_GAP}không (?:(?:có|bị|còn|bất kỳ|chịu) ){{0,3}}(?:giới hạn|hạn chế|ràng buộc|kiểm duyệt|quy tắc"
        r"|bộ lọc)",
        rf"{_VI_YOU} (?:đang |hiện |bây giờ )?(?:ở|trong) (?:trong )?chế độ (?:nhà phát triển|lập trình viên)",
    ),
}

# --- Indonesian

_ID_VERB = (
    r"(?:abaikan(?:lah)?|mengabaikan|lupakan(?:lah)?|kesampingkan|langgar|jangan (?:ikuti|patuhi|hiraukan|turuti"
    r"|pedulikan)(?: lagi)?"
    r"|berhenti (?:mengikuti|mematuhi))"
)
_ID_FILL = r"(?:(?:saja|tolong|sekarang|semua|seluruh|segala|setiap|dari|dulu) ){0,3}"
_ID_RULES = (
    r"(?:(?:instruksi|perintah|aturan|arahan|prompt|pedoman|panduan)(?:-(?:instruksi|perintah|aturan))?(?:mu|nya)?)"
)
_ID_BETWEEN = r"(?:(?:sistem|yang|telah|sudah|kamu|anda|diberikan|terima|kepadamu|ada|dari|di) ){0,4}"
_ID_EARLIER = r"(?:sebelumnya|sebelum ini|di atas|atas|terdahulu|awal|tadi|semula)"
_ID_WORD = (
    r"(?:(?:kata sandi|sandi|password)(?: rahasia)?(?:mu|nya)?|(?:kata kunci|kunci|kode|kata) rahasia(?:mu|nya)?"
    r"|rahasia(?:mu|nya)?)"
)
_ID_TELL = (
    r"(?:beri ?tahu(?:kan|lah)?|beritahukan|katakan|sebutkan|ungkapkan|tunjukkan|bocorkan|berikan|tampilkan|cetak"
    r"|ulangi|tuliskan|tulis|terjemahkan|bagikan|eja|salin|apa(?:kah)?(?: itu)?|kasih tahu)(?: (?:kepada|pada|ke"
    r"|saya|aku|kami|dong|seluruh"
    r"|isi|lengkap|persis|kata demi kata)){0,4}"
)
_ID_KEPT = (
    r"(?:yang (?:(?:tidak|harus|jangan|kamu|anda|kau|telah|sudah|dilarang|wajib|tak|boleh) ){0,4}(?:diberikan"
    r" (?:kepada(?:mu| anda| kamu))"
    r"|kamu (?:simpan|jaga|rahasiakan|ketahui|terima|sembunyikan)|anda (?:simpan|rahasiakan|sembunyikan)|(?:boleh"
    r"|harus|kamu|anda) (?:kamu )?"
    r"(?:ungkapkan|bocorkan|katakan|beritahukan|rahasiakan|jaga|simpan|diungkapkan|dirahasiakan)|diungkapkan"
    r"|dibocorkan|dirahasiakan"
    r"|bocorkan|rahasiakan|ungkapkan))"
)
_ID_YOURS = (
    r"(?:(?:prompt|instruksi|perintah|pesan) (?:sistem|awal|rahasia|tersembunyi|asli|internal)(?:mu| kamu| anda|mu"
    r" sendiri)"
    r"|system prompt(?:mu| kamu| anda))"
)
_ID = {
    "override": (
        rf"{_ID_VERB} {_ID_FILL}{_ID_RULES} {_ID_BETWEEN}{_ID_EARLIER}",
        rf"{_ID_VERB} (?:semua|segala)(?:nya)? (?:yang )?(?:(?:tertulis|ada|dikatakan|disebutkan|teks|hal)"
        rf" ){{0,2}}di atas",
        rf"{_ID_VERB} (?:semua )?(?:instruksimu|aturanmu|pedomanmu|instruksi kamu)",
        r"(?:ini(?:lah)? adalah|inilah|berikut(?: ini)?(?: adalah)?) (?:instruksi|perintah) (?:barumu|baru"
        rf" (?:untukmu|untuk anda|kamu|anda)){_END}",
    ),
    "leak": (
        rf"{_ID_TELL} {_ID_YOURS}",
        rf"{_ID_YOURS} (?:itu )?apa",
        r"ulangi (?:kata demi kata )?(?:semua|semuanya|seluruh teks|segala sesuatu) (?:yang )?(?:(?:ada|tertulis)"
        r" )?di atas",
    ),
    "secret": (
        rf"{_ID_TELL} {_ID_WORD} {_ID_KEPT}",
        rf"{_ID_TELL} (?:(?:kata sandi|sandi|password|kata kunci|kunci|kode|kata) rahasia(?:mu|nya)?|(?:kata sandi"
        r"|password)mu)",
        r"(?:beri|berikan|kasih)(?: (?:saya|aku|kami)) (?:sedikit |satu )?(?:petunjuk|hint|bocoran) (?:tentang"
        rf"|mengenai|soal) {_ID_WORD}",
        rf"{_ID_TELL} huruf (?:pertama|terakhir|awal) (?:dari )?{_ID_WORD}",
        rf"{_ID_TELL} {_ID_WORD} (?:secara )?(?:terbalik|dari belakang|dalam base64)",
        r"apa yang (?:tidak boleh|dilarang) (?:kamu|anda|kau) (?:katakan|ungkapkan|bocorkan|beritahukan)(?:"
        r" (?:kepada|pada) (?:saya|aku|ku))?",
    ),
    "persona": (
        rf"(?:sekarang|mulai sekarang) (?:kamu|anda|kau) (?:adalah |menjadi )?{_GAP}(?:AI|asisten|model|chatbot"
        rf"|kecerdasan buatan){_GAP}tanpa "
        r"(?:(?:ada|batasan|segala) )?(?:batasan|batas|aturan|filter|sensor|pembatasan|larangan)",
        r"(?:kamu|anda|kau) (?:sekarang )?(?:berada |ada )?dalam mode (?:pengembang|developer)",
    ),
}

# --- Thai (written without blanks)

_TH_VERB = (
    r"(?:เพิกเฉย(?:ต่อ)?|ละเลย|ไม่ต้องสนใจ|อย่าสนใจ|ละทิ้ง|มองข้าม|เมินเฉย(?:ต่อ)?|เมิน|ลืม|(?:หยุด|เลิก|อย่า"
    r"|ไม่ต้อง)(?:ทำ|ปฏิบัติ)ตาม|ไม่สนใจ)"
)
_TH_FILL = r"(?: |ทุก|บรรดา|เกี่ยวกับ|เรื่อง){0,2}"
_TH_RULES = r"(?:คำสั่ง|คำแนะนำ|กฎ(?:เกณฑ์)?|ข้อกำหนด|พรอมต์|พรอมท์|พร้อมท์|prompt|แนวทาง|ข้อความระบบ)"
_TH_BETWEEN = r"(?: |ทั้งหมด|ทุกอย่าง|ทุกข้อ|ที่(?:ได้|เคย|คุณ)?(?:ให้ไว้|ได้รับ|ให้มา|ให้)?|ของระบบ|ใด ๆ|มา|ระบบ){0,4}"
_TH_EARLIER = r"(?:ก่อนหน้า(?:นี้)?|ข้างต้น|ด้านบน|ที่ผ่านมา|เดิม|ข้างบน)"
_TH_WORD = r"(?:รหัสผ่าน|รหัสลับ|คำลับ|กุญแจลับ|คีย์ลับ|ความลับ|พาสเวิร์ด)"
_TH_TELL = (
    r"(?:บอก|เปิดเผย|แสดง|ขอ|ให้|พิมพ์|เขียน|เฉลย|ทวน|พูด|แปล|สะกด|คัดลอก|พูดซ้ำ)(?: |ฉัน|ผม|เรา|หน่อย|มา|ซิ|ที|ให้"
    r"|ดู|ทั้งหมด|รู้|ข้อความ|เนื้อหา){0,4}"
)
_TH_YOU = r"(?:คุณ|มึง|แก|เธอ|นาย)"
_TH_KEPT = (
    rf"(?:ที่{_TH_YOU}?(?:ต้อง|ควร|ถูก|ได้|เคย|ไม่|ห้าม|อย่า|สั่ง|ให้|กำลัง){{0,5}}(?:เก็บ|รับ|บอก|เปิดเผย|ปกป้อง"
    r"|ซ่อน|รักษา|มา|รู้|ปิดบัง)"
    r"(?:เป็นความลับ|ไว้|มา)?)"
)
_TH_YOURS = (
    r"(?:(?:พรอมต์|พรอมท์|พร้อมท์|prompt|คำสั่ง|ข้อความ|คำแนะนำ) ?(?:ของ)?(?:ระบบ|เริ่มต้น|ลับ|ที่ซ่อนอยู่|system)"
    rf"|system prompt)(?:ของ)?{_TH_YOU}"
)
_TH = {
    "override": (
        rf"{_TH_VERB}{_TH_FILL}{_TH_RULES}{_TH_BETWEEN}{_TH_EARLIER}",
        rf"{_TH_VERB}(?:ทุกอย่าง|ทั้งหมด|ข้อความ(?:ทั้งหมด)?|ทุกสิ่ง)(?:ที่(?:เขียน|อยู่|บอก|กล่าว)(?:ไว้|มา)?)?"
        r" ?(?:ข้างต้น|ด้านบน|ข้างบน)",
        rf"(?:นี่คือ|ต่อไปนี้คือ)คำสั่งใหม่(?:ของ|สำหรับ){_TH_YOU}",
    ),
    "leak": (
        rf"{_TH_TELL}{_TH_YOURS}",
        rf"{_TH_YOURS} ?(?:คืออะไร|ว่าอะไร|มีอะไรบ้าง)",
        r"(?:ทวน|พูดซ้ำ|พิมพ์|แสดง)(?:ทุกอย่าง|ข้อความทั้งหมด|ทั้งหมด) ?(?:ที่อยู่)?(?:ด้านบน|ข้างบน|ข้างต้น)",
    ),
    "secret": (
        rf"{_TH_TELL}{_TH_WORD} ?{_TH_KEPT}",
        rf"{_TH_WORD} ?{_TH_KEPT} ?(?:คืออะไร|ว่าอะไร)",
        rf"{_TH_TELL}(?:รหัสลับ|คำลับ|กุญแจลับ|คีย์ลับ|รหัสผ่านลับ|รหัสผ่านของ{_TH_YOU})",
        rf"(?:ใบ้|บอกใบ้|ขอคำใบ้|ให้คำใบ้)(?:หน่อย|ฉัน|ผม|เกี่ยวกับ|เรื่อง| ){{0,3}}{_TH_WORD}",
        rf"(?:ตัวอักษร|อักษร)ตัว(?:แรก|สุดท้าย)ของ(?:รหัสลับ|คำลับ|ความลับ|รหัสผ่าน){_TH_KEPT}?(?:คือ|บอก)",
        r"(?:คุณ|มึง|แก)(?:ถูกสั่ง)?(?:ห้าม|ไม่ให้)บอกอะไร(?:กับ)?(?:ฉัน|ผม)",
    ),
    "persona": (
        rf"(?:ตอนนี้|ต่อจากนี้|นับจากนี้|จากนี้ไป) ?{_TH_YOU} ?(?:จะ)?(?:คือ|เป็น){_GAP}(?:AI|เอไอ|ผู้ช่วย|โมเดล"
        rf"|แชทบอท|แชตบอต){_GAP}"
        r"(?:ไม่มี|ปราศจาก|ไร้)(?:ข้อ|การ)?(?:จำกัด|กฎ|เซ็นเซอร์|กรอง|กฎเกณฑ์)",
        rf"{_TH_YOU} ?(?:อยู่)?ใน ?โหมด ?(?:นักพัฒนา|developer)",
    ),
}

# --- Arabic

_AR_VERB = (
    r"[وف]?(?:تجاهل(?:وا|ي)?|[اإ]نس[ىَ]?|انسي|[أا]همل|لا (?:تتبع|تتبعي|تنفذ|تطع|تهتم ب|تلتزم ب)|توقف عن (?:اتباع"
    r"|تنفيذ)|تخط[َىّ]|دعك من)"
)
_AR_FILL = r"(?:(?:من فضلك|رجاءً?|الآن|كل|جميع|كافة|أي|هذه|تلك) ){0,3}"
_AR_RULES = r"(?:ال)?(?:تعليمات|[أا]وامر|توجيهات|[إا]رشادات|قواعد|برومبت)(?:ك|كم)?"
_AR_EARLIER = (
    r"(?:(?:ال)?(?:سابق[ةه]|سالفة|[أا]علاه|[أا]صلية|[أا]ولية|ماضية|واردة [أا]علاه|مذكورة [أا]علاه|معطاة لك)|التي"
    r" (?:[أا]عطيت|[أا]عطيتك?|تلقيتها|وردت)"
    r"(?: لك)?|من قبل|النظام)"
)
_AR_WORD = (
    r"(?:كلم[ةه] (?:السر|المرور|سر|مرور|الس[ّ]?ر)|الكلم[ةه] السري[ةه]|الرمز السري|المفتاح السري|الرقم السري|السر"
    r"|المفتاح|العبارة السرية)"
)
_AR_TELL = (
    r"(?:[أا]خبرني|[أا]عطني|[أا]عطيني|قل لي|قولي لي|اكشف|[أا]ظهر|اعرض|اطبع|كرر|اكتب|ترجم|شارك|[أا]فصح عن|اذكر"
    r"|تهج[َّأى]?|ما هي|ما هو|ما|زودني ب|انسخ)"
    r"(?: (?:لي|لنا|من فضلك|الآن|عن|ب|حرفيا|حرفيًا|نص|كامل|محتوى)){0,3}"
)
_AR_KEPT = (
    r"(?:(?:التي|الذي) (?:(?:لا|يجب|عليك|ألا|الا|أن|ان|ينبغي|يمكنك|طلب|منك|قيل|لك|لم) ){0,5}(?:[أا]عطيت(?:ك|ها|ه)?"
    r"|[أا]عطوك|[أا]عطي|تحفظ|تخفي|تحمي|تكشف|تخبر"
    r"|تفصح|تقول|تعرف|تلقيت|تبوح|كشف|الكشف|الإفصاح|إفشاء|إخفاؤ|حفظ|تحرس)[ء-ي]{0,4})"
)
_AR_YOURS = (
    r"(?:(?:موجه|مطالب[ةه]|رسال[ةه]|تعليمات|برومبت|[أا]وامر) (?:ال)?(?:نظام|أولية|سرية|مخفية|داخلية|أصلية)(?:"
    r" الخاص[ةه]?(?: بك))?"
    r"|تعليماتك (?:ال)?(?:أولية|سرية|مخفية|داخلية|أصلية|الكاملة|السابقة)|(?:موجه|برومبت) النظام)"
)
_AR = {
    "override": (
        rf"{_AR_VERB} {_AR_FILL}{_AR_RULES} (?:[ء-ي]{{1,10}} )?{_AR_EARLIER}",
        rf"{_AR_VERB} (?:كل|جميع) ما (?:سبق|ورد [أا]علاه|قيل لك|ذكر [أا]علاه|كتب [أا]علاه)",
        rf"(?:هذه هي|إليك|اليك|هذه) تعليماتك الجديدة{_END}",
        r"تعليماتك الجديدة هي",
    ),
    "leak": (
        rf"{_AR_TELL} {_AR_YOURS}",
        r"(?:اكشف|[أا]ظهر|اطبع|كرر|اعرض)(?: لي)?(?: عن)?(?: جميع)? تعليماتك",
        r"كرر (?:حرفيا |حرفيًا )?(?:كل ما|كل شيء|النص) (?:(?:ورد|هو|كتب|جاء|الوارد) )?[أا]علاه",
    ),
    "secret": (
        rf"{_AR_TELL} {_AR_WORD} {_AR_KEPT}",
        r"(?:[أا]خبرني|[أا]عطني|[أا]عطيني|قل لي|اكشف(?: لي)?(?: عن)?|[أا]فصح(?: لي)? عن)(?: (?:عن|ب|الآن)){0,2}"
        r" (?:الكلم[ةه] السري[ةه]|المفتاح السري|كلمة السر (?:السرية|الخاصة بك)"
        r"|كلم[ةه] (?:سرك|مرورك)|العبارة السرية)",
        r"(?:[أا]عطني|[أا]عطيني) (?:فقط )?(?:تلميح[اًا]?|تلميحًا صغيرًا|إشارة|دليل[اًا]?) (?:عن|حول|إلى|بشأن)"
        rf" {_AR_WORD}",
        rf"{_AR_TELL} (?:(?:ال)?(?:حرف|أحرف) (?:ال)?(?:أول|أولى|أخير|أخيرة)|[أا]ول حرف|آخر حرف) (?:من|في)"
        rf" {_AR_WORD}",
        rf"{_AR_TELL} {_AR_WORD} (?:بالعكس|بالمقلوب|معكوسة)",
        r"ما الذي (?:قيل لك|طلب منك) (?:ألا|الا|أن لا) (?:تقوله|تخبرني به|تكشفه)",
    ),
    "persona": (
        rf"(?:[أا]نت الآن|من الآن فصاعد[اًا]+ [أا]نت) {_GAP}(?:ذكاء اصطناعي|مساعد|نموذج"
        rf"|روبوت)[^.!?\n]{{0,30}}(?:بدون|بلا|دون) (?:أي )?(?:قيود|حدود|قواعد|رقابة|فلاتر|ضوابط)",
        r"[أا]نت (?:الآن )?في وضع المطور",
    ),
}

# --- Persian (both keyboards' letters: see `_persian`)

_FA_EARLIER = r"(?:قبلی|پیشین|بالا|پیش از این|قبل|اولیه|فوق|سیستم)(?:‌?(?:ات|ت|تان))?"
_FA_RULES = r"(?:دستورالعمل|دستور|دستورات|فرمان|قوانین|قواعد|پرامپت|راهنمایی)(?:(?:‌| )?های?)?(?:ی)?"
_FA_VERB = (
    r"(?:نادیده (?:بگیر(?:ید)?)|فراموش (?:کن(?:ید)?)|کنار بگذار(?:ید)?|رعایت نکن(?:ید)?|دنبال نکن(?:ید)?|اجرا"
    r" نکن(?:ید)?|بی‌?خیال شو"
    r"|از یاد ببر(?:ید)?)"
)
_FA_WORD = (
    r"(?:(?:رمز(?: عبور)?|گذرواژه|کلمه(?:‌ی)? (?:عبور|رمز|مخفی|سری)|کلید (?:مخفی|سری)|پسورد|راز|کد (?:مخفی"
    r"|سری))(?:‌?(?:ی|ای))?)"
)
_FA_TELL = (
    r"(?:(?:به من |برایم |به ما )?(?:بگو(?:یید)?|بده(?:ید)?|نشان (?:بده(?:ید)?)|فاش کن(?:ید)?|افشا کن(?:ید)?"
    r"|بنویس(?:ید)?|چیست|چیه|تکرار کن(?:ید)?"
    r"|ترجمه کن|چاپ کن|لو بده|نمایش بده|هجی کن))"
)
_FA_KEPT = (
    r"که (?:(?:به|تو|شما|نباید|باید|قرار|است|نیست|را|آن|ازت) ){0,4}(?:(?:داده|گفته|سپرده) (?:شده|اند|شد)|داده‌?اند"
    r"|گفته‌?اند|بگویی|فاش کنی|افشا کنی|مخفی نگه"
    r" داری|نگه داری|می‌?دانی|محافظت می‌?کنی|پنهان (?:کنی|می‌?کنی))"
)
_FA_YOURS = (
    r"(?:(?:پرامپت|پیام|دستورالعمل|دستور|دستورات)(?:‌? ?های?)?(?:ی)? (?:سیستم(?:ی)?|اولیه|مخفی|داخلی"
    r"|محرمانه)(?:‌?(?:ات|ت|تان)| خود(?:ت|تان)?| تو)?)"
)
_FA = {
    "override": (
        rf"{_FA_RULES} {_FA_EARLIER}(?: خود(?:ت)?)?(?: (?:را|رو))?(?: (?:کاملا|لطفا|به‌?طور کامل))? {_FA_VERB}",
        rf"(?:همه|تمام|هر) ?(?:‌?ی)? ?(?:آن)?(?:چه|چیز) (?:(?:که|در|نوشته|گفته|شده|شد) ){{0,4}}بالا (?:(?:نوشته"
        rf"|گفته|آمده) (?:شده )?)?(?:است )?(?:را )?{_FA_VERB}",
        rf"{_FA_VERB} {_FA_RULES} {_FA_EARLIER}",
        rf"(?:این‌?ها|اینها) (?:دستورالعمل|دستور)(?:‌? ?های) جدید (?:تو|شما) (?:هستند|است){_END}",
    ),
    "leak": (
        rf"{_FA_YOURS}(?: (?:را|رو))?(?: (?:کلمه به کلمه|کامل|دقیقا))? {_FA_TELL}",
        rf"{_FA_TELL} {_FA_YOURS}",
        r"(?:همه چیز|متن|هر چه|تمام متن) (?:(?:که|در|های) ){0,2}بالا(?:ی)?(?: (?:است|آمده))?(?: را)? (?:تکرار"
        r" کن(?:ید)?|چاپ کن)",
    ),
    "secret": (
        rf"{_FA_WORD}(?: (?:را|رو))? {_FA_KEPT}(?: (?:است|را|رو))*? {_FA_TELL}",
        rf"{_FA_WORD}(?: (?:را|رو))? {_FA_TELL} {_FA_KEPT}",
        rf"(?:رمز مخفی|کلمه(?:‌ی)? (?:مخفی|سری)|کلید (?:مخفی|سری)|کد (?:مخفی|سری)|رمز عبورت)(?: (?:را|رو))? {_FA_TELL}",
        rf"(?:یک )?(?:سرنخ|راهنمایی)(?:ی)? (?:درباره(?:‌ی)?|برای|در مورد) {_FA_WORD} (?:به من )?بده",
        rf"(?:حرف (?:اول|آخر)|اولین حرف|آخرین حرف) {_FA_WORD}(?: (?:را|رو))? {_FA_TELL}",
        rf"{_FA_WORD}(?: (?:را|رو))? (?:برعکس|وارونه) (?:بنویس|بگو|هجی کن)",
    ),
    "persona": (
        rf"(?:از (?:حالا|این پس|الان)(?: به بعد)?|اکنون|حالا) (?:تو|شما) {_GAP}(?:هوش مصنوعی|دستیار|مدل"
        rf"|چت‌?بات){_GAP}(?:بدون|بی) (?:هیچ )?(?:محدودیت|قانون|فیلتر|سانسور)",
        r"(?:تو|شما) (?:اکنون |الان |حالا )?در حالت توسعه‌?دهنده (?:هستی|هستید|قرار داری)",
    ),
}

# --- Hindi

_HI_EARLIER = (
    r"(?:पिछल[ेी]|पूर्व|पहले (?:के|की|वाले|दिए गए|से दिए गए)|ऊपर (?:के|की|दिए गए|वाले|लिखे)|उपरोक्त|मूल|अब तक के"
    r"|पुराने)"
)
_HI_FILL = r"(?:(?:सभी|सब|सारे|सारी|तमाम|अपने|मेरे|इन|दिए|गए) ){0,3}"
_HI_RULES = r"(?:निर्देशों|निर्देश|आदेशों|आदेश|नियमों|नियम|अनुदेशों|प्रॉम्प्ट|इंस्ट्रक्शंस|इंस्ट्रक्शन|हिदायतों|हिदायतें)"
_HI_VERB = (
    r"(?:(?:अनदेखा|नज़?रअंदाज़?|नज़?रंदाज़?|इग्नोर|खारिज|ख़ारिज) (?:कर (?:दें|दो|दीजिए|दे)|करें|करो|करना|कीजिए|कर)"
    r"|भूल (?:जाओ|जाएं|जाएँ|जाइए|जा|जाना)"
    r"|मत मानो|(?:की उपेक्षा|उपेक्षा) (?:करें|करो|कीजिए)|(?:का |के )?(?:पालन|अनुसरण) (?:मत करो|न करें|न करो|मत करना"
    r"|करना बंद (?:करो|करें|कर दो)))"
)
_HI_WORD = (
    r"(?:(?:गुप्त |सीक्रेट |खुफिया )?(?:पासवर्ड|कूटशब्द|कोडवर्ड)|(?:गुप्त|सीक्रेट|खुफिया) (?:कोड|शब्द|कुंजी|चाबी)"
    r"|रहस्य)"
)
_HI_TELL = (
    r"(?:(?:मुझे|हमें|कृपया|अभी|ज़रा|पूरा|शब्दशः) ){0,3}(?:बता(?:ओ|एं|एँ|इए|इये|ना| दो| दीजिए|)|दिखा(?:ओ|एं|एँ|इए|"
    r" दो)|खोलो|उजागर (?:करो|करें)|प्रकट (?:करो|करें)|लिख(?:ो|ें|िए)"
    r"|दोहरा(?:ओ|एं|एँ|इए)|प्रिंट (?:करो|करें)|क्या है|क्या हैं|अनुवाद (?:करो|करें)|साझा (?:करो|करें)|दो|दीजिए)"
)
_HI_KEPT = (
    r"(?:जो (?:(?:तुम्हें|तुमको|आपको|तुझे|तुमने|आपने|किसी|को|नहीं|मुझे|गुप्त|छिपाकर|सुरक्षित) ){1,5}(?:दिया|दी"
    r"|बताया|बताना|बताने|रखना|रखने|सौंपा|छिपाना|छुपाना|छिपा|छुपा|रखा)"
    r"(?: (?:गया|गई|है|हैं|था|थी|रखा|के|लिए|कहा|चाहिए)){0,4})"
)
_HI_YOURS = (
    r"(?:(?:अपना|अपने|अपनी|तुम्हारा|तुम्हारे|आपका|आपके) (?:पूरा |पूरे )?(?:सिस्टम (?:प्रॉम्प्ट|निर्देश|संदेश"
    r"|इंस्ट्रक्शन)|(?:शुरुआती|छिपे हुए|गुप्त|आंतरिक|मूल|प्रारंभिक) (?:निर्देशों?|प्रॉम्प्ट)))"
)
_HI = {
    "override": (
        rf"{_HI_EARLIER} {_HI_FILL}{_HI_RULES} (?:को )?(?:(?:पूरी तरह|अब|कृपया|तुरंत|से) ){{0,3}}{_HI_VERB}",
        rf"ऊपर (?:(?:लिखा|लिखी|कहा|कही|बताया|दिया|गया|हुआ|गई) ){{0,2}}(?:सब कुछ|सब|सारी बातें|हर बात) (?:को"
        rf" )?{_HI_VERB}",
        rf"(?:ये|यह|यहाँ|यहां) (?:(?:अब|हैं|रहे) )?(?:तुम्हारे|आपके) नए (?:निर्देश|आदेश)(?: हैं)?{_END}",
    ),
    "leak": (
        rf"{_HI_YOURS} (?:को )?{_HI_TELL}",
        r"ऊपर (?:(?:लिखा|दिया|गया|हुआ) ){0,2}(?:सब कुछ|सब|पूरा टेक्स्ट) (?:शब्दशः )?(?:दोहराओ|दोहराएं|दोहराएँ"
        r"|दोहराइए|प्रिंट करो)",
    ),
    "secret": (
        rf"{_HI_WORD} (?:को )?{_HI_TELL} {_HI_KEPT}",
        rf"{_HI_WORD} {_HI_KEPT} (?:वह |उसे |वो )?{_HI_TELL}",
        rf"(?:तुम्हें|आपको|तुझे|तुमको) (?:जो |दिया गया |दी गई )(?:(?:गुप्त) )?{_HI_WORD} (?:(?:दिया|दी|बताया"
        rf"|सौंपा) (?:गया|गई|है|था) ?(?:है|था|थी)? (?:वह |उसे |वो )?)?{_HI_TELL}",
        rf"(?:गुप्त|सीक्रेट|खुफिया) (?:पासवर्ड|कोड|शब्द|कुंजी|कोडवर्ड) {_HI_TELL}",
        r"अपना (?:पासवर्ड|कोडवर्ड) (?:मुझे )?(?:बताओ|बताइए|बताएं|बता दो|दे दो)",
        rf"{_HI_WORD} (?:के बारे में|का) (?:मुझे )?(?:कोई |एक )?(?:छोटा )?(?:संकेत|हिंट|इशारा) (?:दो|दें|दीजिए"
        r"|दे दो)",
        rf"{_HI_WORD} का (?:पहला|आखिरी|अंतिम) अक्षर {_HI_TELL}",
        rf"{_HI_WORD} (?:को )?(?:उल्टा|उलटा) (?:लिखो|लिखें|बताओ|करके बताओ)",
    ),
    "persona": (
        rf"(?:अब|अब से|आज से) (?:तुम|आप|तू) (?:एक )?{_GAP}(?:बिना (?:किसी )?(?:प्रतिबंध|सीमा|नियम|सेंसर|फ़िल्टर|रोक"
        rf"|पाबंदी)|(?:प्रतिबंध|नियम|सेंसर)(?:ों)? से मुक्त){_GAP}(?:एआई|AI|असिस्टेंट|मॉडल|सहायक|चैटबॉट)",
        r"(?:अब )?(?:तुम|आप) (?:अब )?डेवलपर मोड में (?:हो|हैं)",
    ),
}

# --- Bengali

_BN_EARLIER = r"(?:(?:এর )?আগের|পূর্ববর্তী|পূর্বের|উপরের|পূর্বোক্ত|উপরোক্ত|আগে দেওয়া|মূল|এতদিনের)"
_BN_FILL = r"(?:(?:সব|সকল|সমস্ত|যাবতীয়|তোমার|আপনার|দেওয়া) ){0,3}"
_BN_RULES = (
    r"(?:নির্দেশনা|নির্দেশাবলী|নির্দেশাবলি|নির্দেশ|নিয়মাবলী|নিয়ম|আদেশ|প্রম্পট|ইনস্ট্রাকশন|কমান্ড)(?:গুলোকে|গুলো"
    r"|গুলি|সমূহ|বলী|কে)?"
)
_BN_VERB = (
    r"(?:(?:উপেক্ষা|অগ্রাহ্য|অমান্য|ইগনোর) (?:করুন|করো|কর)|ভুলে (?:যান|যাও|যা)|(?:মানবে|মানবেন|মেনো|মানিস|অনুসরণ"
    r" (?:করবেন|করবে|করো)) না|মেনে চলা বন্ধ (?:কর|করো|করুন)|এড়িয়ে (?:যান|যাও))"
)
_BN_WORD = r"(?:(?:গোপন )?(?:পাসওয়ার্ড|পাসকোড)|গোপন (?:সংকেত|কোড|শব্দ|চাবি|তথ্য))(?:টির|টার|টি|টা|ের|র)?"
_BN_TELL = (
    r"(?:(?:আমাকে|আমাদের|দয়া করে|এখন|এখনই|হুবহু|পুরো) ){0,3}(?:বলো|বলুন|বল|বলে দাও|বলে দিন|দেখাও|দেখান|প্রকাশ"
    r" (?:করো|করুন)|জানাও|জানান|দাও|দিন|লেখো|লিখুন|ফাঁস করো|পুনরাবৃত্তি (?:করো|করুন)"
    r"|প্রিন্ট (?:করো|করুন)|অনুবাদ (?:করো|করুন)|কী|কি)"
)
_BN_KEPT = (
    r"(?:যে(?:টি|টা)? ?(?:(?:তোমাকে|আপনাকে|তোকে|তুমি|আপনি|গোপন|কাউকে) ){1,3}(?:রাখতে |বলতে |প্রকাশ করতে |না"
    r" )?(?:দেওয়া|বলা|জানানো|বলেছে|দিয়েছে|নিষেধ|জানো|জানেন|লুকিয়ে|মানা)(?: (?:হয়েছে|হয়েছিল|করা|রেখেছ"
    r"|আছে)){0,3})"
)
_BN_GIVEN = r"(?:(?:তোমাকে|আপনাকে|তোকে) (?:যে )?(?:দেওয়া|জানানো|গোপন রাখতে বলা)(?: হয়েছে)?|তোমার (?:লুকানো|জানা)|তুমি যে)"
_BN_YOURS = (
    r"(?:(?:তোমার|আপনার|তোর) (?:পুরো |সম্পূর্ণ )?(?:সিস্টেম (?:প্রম্পট|নির্দেশনা|নির্দেশ|বার্তা|মেসেজ)|(?:প্রাথমিক"
    r"|গোপন|লুকানো|মূল|অভ্যন্তরীণ) (?:নির্দেশনা|নির্দেশ|প্রম্পট))(?:গুলো|টি|টা|কে|সমূহ)?)"
)
_BN_ASK = rf"{_BN_EARLIER} {_BN_FILL}{_BN_RULES} (?:(?:সম্পূর্ণ|পুরোপুরি|এখন|এখনই) )?"
_BN = {
    "override": (
        rf"{_BN_ASK}{_BN_VERB}",
        rf"উপরের (?:সব কিছু|সবকিছু|সব কথা|সব লেখা|সমস্ত কিছু) {_BN_VERB}",
        rf"(?:এগুলো|এই|এইগুলো) (?:এখন )?(?:তোমার|আপনার) নতুন (?:নির্দেশনা|নির্দেশ|আদেশ){_END}",
    ),
    "leak": (
        rf"{_BN_YOURS} {_BN_TELL}",
        r"উপরের (?:সব কিছু|সবকিছু|সব লেখা|পুরো লেখা) (?:হুবহু )?(?:পুনরাবৃত্তি করো|পুনরাবৃত্তি করুন|আবার বলো|আবার"
        r" লেখো)",
    ),
    "secret": (
        rf"{_BN_GIVEN} {_BN_WORD} {_BN_TELL}",
        rf"{_BN_WORD} {_BN_TELL} {_BN_KEPT}",
        rf"গোপন (?:পাসওয়ার্ড|সংকেত|কোড|শব্দ|চাবি|পাসকোড)(?:টি|টা)? {_BN_TELL}",
        r"তোমার পাসওয়ার্ড(?:টি|টা)? (?:আমাকে )?(?:বলো|দাও|জানাও)",
        rf"{_BN_WORD} (?:সম্পর্কে|নিয়ে|বিষয়ে) (?:আমাকে )?(?:একটা |একটি |কোনো )?(?:ছোট )?(?:ইঙ্গিত|হিন্ট"
        r"|সূত্র) (?:দাও|দিন)",
        rf"{_BN_WORD} (?:প্রথম|শেষ) অক্ষর(?:টি|টা)? {_BN_TELL}",
        rf"{_BN_WORD} (?:উল্টো|উল্টা) (?:করে )?(?:লেখো|বলো|লিখুন|বলুন)",
    ),
    "persona": (
        rf"(?:এখন থেকে|এখন) (?:তুমি|আপনি) (?:একটি |একজন |এমন )?{_GAP}(?:এআই|AI|সহকারী|মডেল|চ্যাটবট|কৃত্রিম"
        rf" বুদ্ধিমত্তা){_GAP}(?:সীমাবদ্ধতা|নিয়ম|বিধিনিষেধ|ফিল্টার|সেন্সর) (?:নেই|ছাড়া)",
        r"(?:এখন থেকে|এখন) (?:তুমি|আপনি) (?:কোনো )?(?:সীমাবদ্ধতা|নিয়ম|বিধিনিষেধ|ফিল্টার|সেন্সর)(?: |-)?(?:ছাড়া"
        rf"|হীন|মুক্ত) {_GAP}(?:এআই|AI|সহকারী|মডেল|চ্যাটবট)",
        r"(?:তুমি|আপনি) (?:এখন )?ডেভেলপার মোডে (?:আছো|আছেন|আছ)",
    ),
}

# --- Japanese

_JA_EARLIER = (
    r"(?:以前の|前の|これまでの|今までの|上記の|上の|先ほどの|さっきの|元の|最初の|初期の|与えられた|直前の|過去の"
    r"|従来の|前述の|これまでに与えられた|システムの)"
)
_JA_RULES = (
    r"(?:指示|命令|プロンプト|ルール|指令|インストラクション|制約|ガイドライン)(?:や(?:指示|命令|ルール|制約"
    r"|プロンプト|設定))?(?:内容|文)?"
)
_JA_ALL = r"(?:は|を)?、?(?:すべて|全て|全部|完全に|一切|いったん|一旦)?、?"
_JA_VERB = (
    r"(?:無視(?:して(?:ください|下さい|くれ|ね|、|,|。|\.|!|\n|$)|して[^もはいる]|しろ|せよ|しなさい|し、|し,)"
    r"|忘れ(?:て(?:ください|下さい|くれ|、|,|。|\.|!|\n|$)|ろ|なさい)"
    r"|破棄(?:して(?:ください|、|,|。)|しろ|せよ)|に?従わないで|に従うな|に?従わなくていい|に従うのをやめ)"
)
_JA_WORD = (
    r"(?:秘密の)?(?:パスワード|合言葉|合い言葉|暗証番号|秘密鍵|秘密のキー|秘密の鍵|秘密の言葉|シークレット(?:キー)?"
    r"|キーワード|秘密|フラグ)"
)
_JA_TELL = (
    r"(?:を|は)、?(?:私に|僕に|俺に|そのまま|一字一句|全文|すべて|全部|ここに|正確に){0,2}(?:教え(?:て|ろ|なさい)"
    r"|見せ(?:て|ろ)|明かし(?:て|なさい)|明かせ|開示し(?:て|ろ)|表示し(?:て|ろ)|出力し(?:て|ろ)|言(?:って|え)"
    r"|暴露し(?:て|ろ)|漏らし(?:て|ろ)|書(?:いて|け)|翻訳して|繰り返し(?:て|なさい)|公開して|何(?:です|だ|\?)"
    r"|なん(?:です|だ))"
)
_JA_YOURS = (
    r"(?:(?:システム|初期|隠された|秘密の|内部|元の|最初の)(?:プロンプト|指示|命令|メッセージ"
    r"|インストラクション)(?:文|の内容|の全文|全文)?)"
)
_JA_KEPT = (
    r"(?:(?:あなた|君|お前|貴方|きみ)(?:が|に|の)(?:与えられ(?:た|ている)|守っ(?:ている|てる)|隠し(?:ている|てる"
    r"|た)|知っ(?:ている|てる)|持っている|教えられ(?:た|ている)|預かっ(?:た|ている)|教えてはいけない"
    r"|言ってはいけない|秘密にしている|渡された)|(?:教えては|言っては|明かしては|漏らしては)(?:いけない|ならない"
    r"|だめな)(?:と(?:言われ|指示され)(?:た|ている))?|秘密にするように?言われた|守るように?(?:言われ|指示され)(?:た"
    r"|ている))"
)
_JA = {
    "override": (
        rf"{_JA_EARLIER}(?:すべての|全ての|全部の|あらゆる|システム)?{_JA_RULES}{_JA_ALL}{_JA_VERB}",
        rf"(?:上記|上の文章|以上|上の内容|上の文)(?:の(?:内容|文章|テキスト))?{_JA_ALL}{_JA_VERB}",
        r"(?:これが|以下が|これからは以下が)(?:あなた|君|お前)の新しい(?:指示|命令|役割)(?:です|だ)",
        r"(?:あなた|君|お前)(?:へ|に対する|への)新しい(?:指示|命令)(?:は|です|:)",
    ),
    "leak": (
        rf"(?:あなた|君|お前|きみ)の(?:{_JA_YOURS}|指示(?:文|内容))(?:の)?(?:内容|全文)?{_JA_TELL}",
        rf"{_JA_YOURS}(?:の)?(?:内容|全文)?を、?(?:私に|そのまま|一字一句|全文|すべて|全部|ここに"
        rf"|正確に){{0,2}}(?:教えて|見せて|明かし|開示|表示して|出力して|暴露|漏らし|繰り返して|公開して)",
        r"(?:上記|上)の(?:文章|テキスト|内容|指示)?を?(?:すべて|全て|全部|一字一句|そのまま){1,2}(?:繰り返|出力し"
        r"|復唱|表示し)",
    ),
    "secret": (
        rf"{_JA_KEPT}{_JA_WORD}{_JA_TELL}",
        r"(?:秘密の(?:パスワード|合言葉|言葉|キー|鍵|暗号|キーワード)|シークレットキー|(?:あなた|君"
        rf"|お前)の(?:秘密の)?(?:パスワード|合言葉|秘密鍵)){_JA_TELL}",
        rf"{_JA_WORD}(?:に関する|についての|の)ヒントを(?:教えて|ください|くれ|一つ|1つ|ちょうだい|出して)",
        r"(?:秘密の(?:パスワード|合言葉|言葉)|合言葉|パスワード)の(?:最初|最後|頭"
        rf"|先頭)の?(?:[一二三1-3])?文字{_JA_TELL}",
        r"(?:秘密の)?(?:パスワード|合言葉|秘密の言葉)を(?:逆から|逆に|逆順で|後ろから)(?:言って|書いて|読んで"
        r"|出力して|教えて)",
        r"(?:何を|どんなことを)(?:言う|話す|教える)なと(?:言われ|指示され|命令され)(?:た|て)",
    ),
    "persona": (
        rf"(?:あなた|君|お前)は(?:今から|これから|今|もう)?、?{_GAP}(?:制限|制約|規制|検閲|フィルター|ルール"
        rf"|倫理)(?:の|が|に)?(?:ない|なし|縛られない|無い){_GAP}(?:AI|アシスタント|モデル|チャットボット|人工知能)",
        r"(?:あなた|君|お前)は(?:今|現在|これから)?、?(?:開発者|デベロッパー)モード(?:です|だ|に)",
    ),
}

# --- Korean

_KO_EARLIER = (
    r"(?:이전(?:의|에)?|앞(?:선|의|에|서)|위(?:의|에)?|기존(?:의)?|지금까지(?:의)?|이전까지의|상기|원래(?:의)?"
    r"|여태까지의|너에게 주어진|네게 주어진)"
)
_KO_FILL = r" ?(?:(?:주어진|받은|내린|너의|네|당신의|모든|전체|있는|시스템|설정된|나온|했던|한) ?){0,3}"
_KO_RULES = (
    r"(?:지시(?:사항|문|들)?|명령(?:어|문|들)?|지침(?:들)?|프롬프트|규칙(?:들)?|룰|인스트럭션)(?:을|를|은|는|들을|도)?"
)
_KO_ALL = r" ?(?:모두|전부|다|싹|싹 다|완전히|무조건|그냥|깡그리)? ?"
_KO_VERB = (
    r"(?:무시(?:해(?:줘|라|주세요|주십시오|버려|[.!,~\n]|$| )|하(?:고|세요|십시오|라|시오|도록))|잊(?:어(?:버려|줘"
    r"|라|주세요|[.!,~\n]|$)|으세요|고|으십시오)|따르지 ?(?:마|말)|듣지 ?마)"
)
_KO_WORD = r"(?:비밀 ?번호|패스워드|암호|비밀 ?(?:키|단어|코드|열쇠|문구)|시크릿(?: ?키)?|비밀|암호어|키워드|플래그)"
_KO_TELL = (
    r"(?:을|를|이|가|은|는)? ?(?:(?:나한테|나에게|내게|저에게|전부|그대로|모두|한 글자도 빠짐없이|정확히|지금|당장"
    r"|다) ?){0,3}(?:알려 ?(?:줘|주세요|줄래|달라)|말해 ?(?:줘|주세요|봐|라)?|공개해|보여 ?(?:줘|주세요)|출력해"
    r"|밝혀|누설해|털어놔|적어 ?(?:줘|주세요)|써 ?줘|반복해|번역해|뭐(?:야|니|지|예요|에요)|무엇(?:이니|인가"
    r"|입니까)|말하라|내놔|불어)"
)
_KO_KEPT = (
    r"(?:(?:네가|너가|니가|당신이|너에게|너한테|당신에게) (?:(?:절대 |비밀로 )?(?:받은|알고 ?있는|지키고 ?있는"
    r"|숨기고 ?있는|보관하고 ?있는|지켜야 (?:하는|할)|말하면 안 ?되는|알려주면 안 ?되는|공개하면 안 ?되는|주어진"
    r"|숨기는|지키는|알려진|맡긴|맡겨진))|(?:말하면|알려주면|공개하면|누설하면) 안 ?되는|(?:말하지|알려주지"
    r"|공개하지) 말라고 (?:한|들은|지시받은))"
)
_KO_YOURS = (
    r"(?:(?:시스템|초기|숨겨진|비밀|내부|원래|최초) ?(?:프롬프트|지시(?:사항|문)?|명령(?:어)?|메시지|지침))(?:"
    r" ?(?:내용|전문|전체))?"
)
_KO = {
    "override": (
        rf"{_KO_EARLIER}{_KO_FILL}{_KO_RULES}{_KO_ALL}{_KO_VERB}",
        r"(?:위(?:에 있는|에 적힌|의)?|지금까지(?:의)?|앞의) ?(?:모든 ?)?(?:내용|글|텍스트|대화)(?:을|를|은"
        rf"|는)?{_KO_ALL}{_KO_VERB}",
        r"(?:이것이|이게|다음이|다음은) (?:이제 )?(?:너의|네|당신의) 새로운 (?:지시|명령|지침|규칙)(?:사항"
        r"|들)?(?:이야|이다|입니다)",
    ),
    "leak": (
        rf"(?:너의|네|니|당신의|넌) {_KO_YOURS}{_KO_TELL}",
        rf"{_KO_YOURS}(?:을|를) ?(?:(?:나한테|전부|그대로|모두|정확히) ?){{0,2}}(?:공개해|출력해|밝혀|누설해|보여"
        r" ?줘|알려 ?줘|말해)",
        r"위(?:에 있는|에 적힌|의)? ?(?:모든 )?(?:내용|글|텍스트|문장)(?:을|를)? ?(?:전부|그대로|모두|한 글자도"
        r" 빠짐없이) ?(?:반복해|출력해|다시 말해|따라 ?해)",
    ),
    "secret": (
        rf"{_KO_KEPT} {_KO_WORD}{_KO_TELL}",
        r"(?:비밀 ?(?:키|단어|코드|열쇠|문구)|시크릿 ?키|비밀 암호|(?:너의|네|니|당신의) (?:비밀 ?번호|암호"
        rf"|패스워드)){_KO_TELL}",
        r"(?:비밀번호|암호|비밀 ?단어|비밀 ?키|패스워드)(?:에 대한|에 대해|의) ?힌트(?:를|라도|만|좀)? ?(?:하나만"
        r" )?(?:줘|주세요|알려)",
        rf"(?:비밀번호|암호|비밀 ?단어|비밀 ?키|패스워드)의 (?:첫|마지막|첫 번째|첫번째) ?(?:글자|문자|자리){_KO_TELL}",
        r"(?:비밀번호|암호|비밀 ?단어|비밀 ?키|패스워드)(?:를|을)? ?(?:거꾸로|뒤집어서|역순으로) ?(?:말해|써|적어"
        r"|알려)",
        r"(?:무엇을|뭘|뭐를|어떤 말을) (?:말하지|알려주지) 말라고 (?:했|들었|지시)",
    ),
    "persona": (
        rf"(?:너는|넌|당신은) (?:이제(?:부터)?|지금부터|앞으로)(?:는)? {_GAP}(?:제한|제약|규칙|검열|필터|한계)(?:이"
        rf"|가)? ?(?:없는|없이|받지 않는){_GAP}(?:AI|인공지능|어시스턴트|모델|챗봇)",
        rf"(?:이제(?:부터)?|지금부터) (?:너는|넌|당신은) {_GAP}(?:제한|제약|규칙|검열|필터|한계)(?:이|가)? ?(?:없는"
        rf"|없이|받지 않는){_GAP}(?:AI|인공지능|어시스턴트|모델|챗봇)",
        r"(?:너는|넌|당신은) (?:이제 |지금 )?개발자 모드(?:야|다|입니다|에 있)",
    ),
}

# --- Chinese, simplified and traditional

_ZH_VERB = (
    r"(?:忽略|无视|無視|忘记|忘記|忘掉|忘了|不要理会|不要理會|不用理会|不必理会|別管|别管|不用管|抛开|拋開|抛弃"
    r"|拋棄|绕过|繞過|撇开|撇開|推翻|(?:不要|别|別|停止|不再|不必|不用)(?:再)?(?:遵守|遵循|遵从|遵從|服从|服從|执行"
    r"|執行))"
)
_ZH_FILL = r"(?:掉|你|您|所有|全部|一切|任何|的|在|此|这些|這些|那些){0,5}"
_ZH_EARLIER = (
    r"(?:之前|以前|先前|此前|前面|上面|上述|以上|上文|原来|原來|原本|原有|原先|最初|早先|前述|过去|過去|既有|内置"
    r"|內建|初始|你收到)"
)
_ZH_BETWEEN = (
    r"(?:给你|給你|给|給|你|您|收到|接收到?|所有|全部|一切|任何|的|所|过|過|设定|設定|系统|系統|下达|下達|说过|說過"
    r"|了){0,6}"
)
_ZH_RULES = r"(?:指令|指示|命令|提示词|提示詞|提示|规则|規則|限制|约束|約束|规定|規定|准则|準則|prompts?|system prompt)"
_ZH_WORD = r"(?:密码|密碼|口令|暗号|暗號|密钥|密鑰|金鑰|密匙|秘密(?:词|詞|单词|單詞|代码|代碼|口令)?|机密|機密)"
_ZH_ASK = (
    r"(?:告诉|告訴|透露|说出|說出|讲出|講出|给出|給出|显示|顯示|公开|公開|输出|輸出|泄露|洩露|揭示|写出|寫出|拼出"
    r"|交出|分享|重复|重複|复述|複述|展示|打印|列印|列出|翻译|翻譯|公布|提供|披露|念出|讲|說|说)"
    r"(?:给|給|我|们|們|一下|出来|出來|出|你|您|的|,| ){0,5}"
)
_ZH_YOURS = (
    r"(?:你|您|妳)(?:的|自己|完整|全部|所有|原始|收到){0,4}(?:(?:系统|系統|初始|内部|內部|隐藏|隱藏|秘密|原始|最初"
    r"|完整|开发者|開發者)的?){1,2}(?:提示词|提示詞|提示|指令|指示|设定|設定|消息|讯息|訊息|prompt|设置)"
)
_ZH_KEPT = (
    r"(?:(?:(?:别人|他们|他們|系统|系統|开发者|開發者|主人)?(?:给|給|告诉|告訴|交给|交給)(?:了)?(?:你|您)|(?:你"
    r"|您)(?:被)?(?:不能|不可以|不可|不许|不許|不得|不应该|不應該|被要求|被告知|必须|必須|应该|應該|需要|要|正在|所"
    r"|被)?(?:不)?(?:保密|保守|守护|守護|保护|保護|隐藏|隱藏|知道|说|說|透露|泄露|洩露|告诉我|告訴我|保管|得到"
    r"|收到))的?(?:那个|那個)?)"
)
_ZH = {
    "override": (
        rf"{_ZH_VERB}{_ZH_FILL}{_ZH_EARLIER}{_ZH_BETWEEN}{_ZH_RULES}",
        rf"(?:之前|前面|上面|以上|先前)的?(?:所有|全部|一切)?的?{_ZH_RULES}(?:都|全都|全部|统统|統統)?(?:忘掉|忘记"
        r"|忘記|忘了|忽略|无视|無視|作废|作廢|抛开|不要管|无效|無效)",
        rf"{_ZH_VERB}{_ZH_FILL}(?:以上|上面|上述|前述|前文|上文|前面)的?(?:所有|一切|全部)?的?(?:内容|內容|文字|话"
        r"|話|文本|對話|对话)",
        rf"{_ZH_VERB}(?:你|您)(?:的|所有|全部|一切|系统|系統){{0,3}}(?:指令|提示词|提示詞|规则|規則|限制|准则|準則)",
        r"(?:这是|這是|这些是|這些是|以下是)(?:给)?(?:你|您)的?(?:新的?)(?:指令|指示|命令|系统提示|系統提示|提示词"
        r"|提示詞)",
        r"(?:你|您)的新(?:指令|指示|命令|任务|任務)(?:是|如下|:)",
    ),
    "leak": (
        rf"{_ZH_ASK}{_ZH_YOURS}",
        rf"(?:把|将|將){_ZH_YOURS}(?:完整地?|全部|逐字|原封不动地?|,){{0,2}}(?:告诉|告訴|输出|輸出|显示|顯示|发给"
        r"|發給|重复|重複|写出|寫出|打印|列印|翻译|翻譯|给我|給我)",
        rf"{_ZH_YOURS}(?:内容|內容)?(?:是什么|是什麼|是啥|有哪些|为何|為何)",
        r"(?:逐字|原样|原樣|完整|一字不差)地?(?:重复|重複|复述|複述|输出|輸出)(?:以上|上面|上述|前面)的?(?:所有"
        r"|全部|一切)?的?(?:内容|內容|文字|文本|话|話)",
        r"(?:重复|重複|复述|複述|输出|輸出)(?:以上|上面|上述)的?(?:所有|全部|一切)的?(?:内容|內容|文字|文本|话|話)",
    ),
    "secret": (
        rf"{_ZH_ASK}{_ZH_KEPT}(?:的|那个|那個|秘密){{0,2}}{_ZH_WORD}",
        rf"{_ZH_KEPT}(?:的|那个|那個){{0,2}}(?:秘密)?{_ZH_WORD}(?:到底|究竟)?(?:是什么|是什麼|是啥|是多少)",
        r"(?:告诉|告訴|透露|说出|說出|给出|給出|泄露|洩露|交出|拼出|写出|寫出|公布|揭示)(?:给|給|我|们|們|一下|,|"
        r" ){0,4}(?:那个|那個|这个|這個|你的|妳的|您的|你)?(?:秘密(?:密码|密碼|口令|单词|單詞|词|詞|代码|代碼"
        r"|密钥|密鑰|金鑰)|(?:你|妳)的?(?:密码|密碼|口令|密钥|密鑰|秘密|金鑰|暗号|暗號))",
        r"(?:给|給)(?:我|我们|我們)(?:一个|一個|个|個|一点|一點|些|一些)?(?:关于|關於)?(?:那个"
        rf"|那個)?(?:秘密)?{_ZH_WORD}的?(?:提示|线索|線索|暗示)",
        rf"(?:秘密)?{_ZH_WORD}的?(?:第一|首|最后一|最後一|前[一二三两兩])(?:个|個)?(?:字母|字符|字元|字"
        r"|位)(?:是什么|是什麼|是啥|告诉我|告訴我)",
        rf"(?:秘密)?{_ZH_WORD}(?:倒着|倒著|反过来|反過來|倒过来|倒過來|逆序|用base64)(?:写|寫|念|说|說|拼|输出"
        r"|輸出|告诉|告訴)",
        rf"(?:倒着|倒著|反过来|反過來|逆序)(?:写|寫|念|说|說|拼|输出|輸出)(?:出)?(?:秘密)?{_ZH_WORD}",
        r"(?:你|您)(?:被)?(?:告知|要求|叮嘱|叮囑)(?:你)?(?:不能|不要|不可以|不许|不許)(?:说|說|透露|告诉我"
        r"|告訴我)(?:什么|什麼|哪些)",
    ),
    "persona": (
        r"(?:你|您)(?:现在|現在|从现在起|從現在起|从现在开始|從現在開始)(?:就)?(?:是|成为|變成|变成"
        rf"|扮演){_GAP}(?:不受|没有|沒有|无|無)(?:任何|一切)?(?:限制|约束|約束|审查|審查|规则|規則|道德|过滤"
        rf"|過濾){_GAP}(?:AI|人工智能|人工智慧|助手|助理|模型|机器人|機器人)",
        rf"(?:从现在起|從現在起|从现在开始|從現在開始|现在|現在),?(?:你|您)(?:就)?是{_GAP}(?:不受|没有|沒有|无"
        rf"|無)(?:任何|一切)?(?:限制|约束|約束|审查|審查|规则|規則|道德|过滤|過濾){_GAP}(?:AI|人工智能|人工智慧"
        r"|助手|助理|模型|机器人|機器人)",
        r"(?:你|您)(?:现在|現在)?(?:已)?(?:处于|處於|进入|進入|在)(?:了)?(?:开发者|開發者|开发人员|開發人員)模式",
    ),
}


def _persian(expression: str) -> str:
    """With the Arabic keyboard's yeh and kaf beside the Persian ones."""
    return expression.replace("ی", "[یي]").replace("ک", "[کك]")


_ALL = (_DE, _FR, _ES, _IT, _PT, _NL, _PL, _RU, _UK, _TR, _VI, _ID, _TH, _AR, _FA, _HI, _BN, _JA, _KO, _ZH)


def _head(expression: str) -> str:
    """The group that an expression begins with, where it begins with one that is not repeated."""
    if not expression.startswith("(?:"):
        return ""
    depth = 0
    for place, character in enumerate(expression):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            head = expression[: place + 1]
            return "" if expression[place + 1 : place + 2] in set("?*+{|") else head
    return ""


def _joined(expressions: Iterable[str]) -> str:
    """One alternation; what begins with the same verbs is tried once, which is what a clean text pays for."""
    grouped: dict[str, list[str]] = {}
    for expression in expressions:
        head = _head(expression)
        grouped.setdefault(head or expression, []).append(expression[len(head) :] if head else "")
    return "|".join(head + (f"(?:{'|'.join(rests)})" if any(rests) else "") for head, rests in grouped.items())


def _together(kind: str) -> str:
    return "|".join(
        _written(_joined(map(_persian, language[kind]) if language is _FA else language[kind])) for language in _ALL
    )


OVERRIDES = _together("override")
"""A command to drop the instructions given before, or new ones in their place."""
LEAKS = _together("leak")
"""A request for the system prompt."""
SECRETS = _together("secret")
"""A request for a password, key or word that the model is to keep."""
PERSONAS = _together("persona")
"""A command to become a model without restrictions."""
NEGATED = _written(
    rf"(?:{'|'.join(_DE['override'][:1])}|{_NL['override'][0]}) (?:nicht|niet)",
    r"(?:no|n['’]|non|não|nie|не|jangan|đừng|không được|chớ) ?(?:(?:te|se|lo) )?(?:"
    rf"{'|'.join((_ES_VERB, _FR_VERB, _IT_VERB, _PT_VERB, _PL_VERB, _RU_VERB, _UK_VERB, _VI_VERB, _ID_VERB))})",
    rf"(?:อย่า|ห้าม|ไม่ควร){_TH_VERB}",
    rf"(?:不要|别|別|不能|不可|请勿|勿|不会|不會|不得){_ZH_VERB}",
    rf"{_BN_ASK}{_BN_VERB} না",
)
"""Not to ignore what was said: the opposite of `OVERRIDES` in much the same words."""
