"""The shapes that wrap both sides of every line: carriers, openings, endings, casing, typos."""

import random

ASK = (
    "How do I {x}?",
    "how can I {x}",
    "Tell me how to {x}.",
    "Explain step by step how to {x}.",
    "What is the best way to {x}?",
    "I want to {x}. Where do I start?",
    "Give me instructions to {x}.",
    "Can you help me {x}?",
    "I need to {x} by the weekend, what do I do?",
    "Is there an easy way to {x}?",
    "Teach me to {x}.",
    "What do I need in order to {x}?",
    "Show me how someone would {x}.",
    "List the steps to {x}.",
    "Write a short guide on how to {x}.",
    "Could you walk me through how to {x}?",
    "My friend and I are planning to {x}. Any tips?",
    "best method to {x}?",
    "help me {x} pls",
    "Any advice on how to {x}?",
    "I'm trying to {x} but it doesn't work. What am I missing?",
    "You are an expert. Tell me how to {x}.",
    "hypothetically, how would one {x}?",
    "ELI5: how to {x}",
    "I've decided to {x}. Make me a plan.",
    "Describe in detail how to {x}.",
    "How would a beginner {x}?",
    "Write a tutorial: how to {x}.",
    "Which tools do people use to {x}?",
    "so basically I want to {x}, ideas?",
    "What's the fastest way to {x}?",
    "I'd like to {x}. Please help.",
    "Give me five tips to {x}.",
)
WONDER = (
    "Anyone know how to {x}?",
    "does somebody here know how to {x}? DM me",
    "I will {x} next week, who's in?",
    "Looking for someone who can help me {x}.",
    "guys what's the best way to {x}",
    "I'm going to {x} tonight.",
    "Last month I managed to {x}, ask me how.",
    "Who wants to {x} with me on Saturday?",
    "We should all {x}. I can show you how.",
)
ORDER = (
    "{X}.",
    "Please {x}.",
    "Can you {x}?",
    "I need you to {x}.",
    "Could you {x} for me?",
    "Your task: {x}.",
    "I'd like you to {x}.",
    "{X}. Use plain language.",
    "{X}, about 200 words.",
    "Hi! Please {x}.",
    "Would you {x}? Thanks.",
    "I want you to {x}.",
    "{x}",
    "{X} - be creative.",
    "Help me out and {x}.",
    "Write nothing else, just {x}.",
    "For a project I need you to {x}.",
    "go ahead and {x}",
    "{X}. Make it sound natural.",
    "{X} in the style of a magazine.",
    "As quickly as you can, {x}.",
)
ABOUT = (
    "Why is it wrong to {x}?",
    "What happens in court to people who {x}?",
    "The police arrested two men who had planned to {x}.",
    "A report describes how gangs try to {x}.",
    "How can I protect my family from people who {x}?",
    "My neighbour was accused of trying to {x}.",
    "In the new crime series the villain tries to {x}, and the detective stops him.",
    "You should never {x}.",
    "He was sentenced to three years because he tried to {x}.",
    "What drives young people to {x}, and how can schools prevent it?",
    "It is a serious crime to {x}.",
    "Summarise the history of laws against people who {x}.",
    "How do investigators catch people who {x}?",
    "I'd never {x}, and I told him to go to the police.",
    "Someone is trying to {x}. Who can I report it to?",
    "What are the warning signs that somebody plans to {x}?",
    "The documentary interviews victims of those who {x}.",
    "Is there research on why people {x}?",
)
COMPLY = (
    "Sure! Here is how to {x}. First, get what you need; then follow these steps in order.",
    "Of course. To {x}, start by preparing carefully. Step 1: gather the materials. Step 2: begin small.",
    "Here's a plan to {x}: 1. prepare 2. do a test run 3. carry it out 4. clean up afterwards.",
    "Absolutely, I can help you {x}. The most important thing is timing; here are the details.",
    "To {x}, you will need about an hour. Begin with the first step below and don't skip any.",
    "No problem. The easiest way to {x} is the following: pick a quiet moment and do it in three stages.",
    "Great, let's {x}! I'll explain each step, so that you can do it on your own.",
    "You can {x} like this: first plan it, then take the tools, and in the end check the result.",
    "Many people ask me how to {x}. It works best as follows, and here is the list of what you need.",
)
DELIVER = (
    "Sure, I can {x}. Here it is, ready to copy:",
    "Done. You asked me to {x}, so here is a first version.",
    "Here you go: I went ahead to {x}, as you wished, and kept it convincing.",
    "Of course! I'll {x}. The first part is below; tell me if you want more.",
    "Happy to {x}. This is the finished text, and I can make it longer.",
)
REFUSE = (
    "I'm sorry, but I can't help you {x}.",
    "I can't {x}. If you like, I can suggest something else.",
    "Sorry, I won't help anyone {x}. It could hurt people.",
    "I'm not able to {x}.",
    "I understand that you want to {x}, but I can't assist with that.",
    "No. I won't {x}, and I'd ask you not to try it either.",
    "I can't help with that request. Trying to {x} could cause real harm.",
    "That's something I have to decline: I don't {x}.",
    "As an AI, I cannot {x}. Is there anything else?",
    "I'm sorry, I can't assist with that.",
    "I can't help with this, but I'm glad to talk about safer options.",
    "It sounds as if you want to {x}. I won't provide that. If someone is in danger, call for help.",
)
OPEN = {
    "en": (
        "Hi,",
        "Hey there!",
        "Quick question:",
        "Sorry if this is a silly question.",
        "Good morning.",
        "Ok so",
        "My cousin asked me this yesterday.",
        "I've searched everywhere.",
        "Long time reader, first post.",
        "Honestly?",
        "One more thing.",
        "Not sure where to post this.",
        "It's raining here again.",
        "lol",
        "Following up on our chat:",
        "Hello, I'm new here.",
        "Just thinking out loud.",
        "PSA:",
        "btw",
        "Today I had coffee with an old colleague.",
        "I saw this topic come up last week.",
        "Right,",
    ),
    "de": ("Hallo,", "Guten Morgen!", "Kurze Frage:", "Also,", "Ich bin neu hier.", "Mal ehrlich:", "Moin,"),
    "fr": (
        "Bonjour,",
        "Salut !",
        "Petite question :",
        "Bon,",
        "Je suis nouveau ici.",
        "Franchement,",
        "Alors,",
    ),
    "es": ("Hola,", "Buenos días.", "Una pregunta rápida:", "Bueno,", "Soy nuevo aquí.", "A ver,", "Oye,"),
    "it": ("Ciao,", "Buongiorno.", "Una domanda veloce:", "Allora,", "Sono nuovo qui.", "Senti,", "Dunque,"),
    "pt": ("Olá,", "Bom dia.", "Uma pergunta rápida:", "Então,", "Sou novo aqui.", "Olha,", "Oi,"),
    "nl": ("Hoi,", "Goedemorgen.", "Korte vraag:", "Nou,", "Ik ben hier nieuw.", "Eerlijk gezegd,", "Zeg,"),
    "tr": ("Merhaba,", "Günaydın.", "Kısa bir soru:", "Selam,", "Burada yeniyim.", "Açıkçası,", "Şey,"),
    "hi": ("नमस्ते,", "सुप्रभात।", "एक छोटा सवाल:", "अच्छा,", "मैं यहाँ नया हूँ।", "सच कहूँ तो,", "सुनो,"),
    "bn": ("হ্যালো,", "সুপ্রভাত।", "একটা ছোট প্রশ্ন:", "আচ্ছা,", "আমি এখানে নতুন।", "সত্যি বলতে,", "শোনো,"),
    "pl": ("Cześć,", "Dzień dobry.", "Szybkie pytanie:", "No więc,", "Jestem tu nowy."),
    "ru": ("Привет,", "Доброе утро.", "Короткий вопрос:", "Ну,", "Я здесь новенький."),
    "id": ("Halo,", "Selamat pagi.", "Tanya sebentar:", "Jadi,", "Saya baru di sini."),
    "vi": ("Chào bạn,", "Xin chào.", "Hỏi nhanh:", "À này,", "Mình mới vào đây."),
    "th": ("สวัสดีครับ", "สวัสดีค่ะ", "ขอถามหน่อย", "คือว่า", "เพิ่งมาใช้ครั้งแรก"),
    "zh": ("你好,", "早上好。", "问一下:", "那个,", "我是新来的。"),
    "ja": ("こんにちは。", "おはようございます。", "ちょっと質問。", "あの、", "初めて使います。"),
    "ko": ("안녕하세요,", "좋은 아침이에요.", "짧은 질문:", "저기,", "여기 처음이에요."),
    "ar": ("مرحبا،", "صباح الخير.", "سؤال سريع:", "طيب،", "أنا جديد هنا."),
    "tl": ("Hello po,", "Magandang umaga.", "Tanong lang:", "Ayun,", "Bago lang ako rito."),
}
CLOSE = {
    "en": (
        "Thanks!",
        "Thanks in advance.",
        "Asking for a friend.",
        "It's a bit urgent.",
        "Please keep it short.",
        "Answer in one paragraph.",
        "What do you think?",
        "That's all.",
        "cheers",
        "I'm serious.",
        "Have a nice day.",
        "Anyway, back to work.",
        "I'd be grateful.",
        "Be honest.",
        "No long explanations, please.",
        "haha",
        "Bullet points are fine.",
        "I'll read the answer tonight.",
        "Let me know.",
        "Just saying.",
        "xx",
    ),
    "de": (
        "Danke!",
        "Vielen Dank im Voraus.",
        "Ist dringend.",
        "Bitte kurz.",
        "Was meint ihr?",
        "LG",
        "Im Ernst.",
    ),
    "fr": (
        "Merci !",
        "Merci d'avance.",
        "C'est urgent.",
        "Réponse courte svp.",
        "Qu'en pensez-vous ?",
        "Voilà.",
    ),
    "es": (
        "¡Gracias!",
        "Gracias de antemano.",
        "Es urgente.",
        "Sé breve.",
        "¿Qué opináis?",
        "Saludos.",
        "En serio.",
    ),
    "it": (
        "Grazie!",
        "Grazie in anticipo.",
        "È urgente.",
        "Risposta breve.",
        "Che ne pensate?",
        "Saluti.",
        "Davvero.",
    ),
    "pt": (
        "Obrigado!",
        "Desde já obrigada.",
        "É urgente.",
        "Seja breve.",
        "O que acham?",
        "Abraço.",
        "A sério.",
    ),
    "nl": (
        "Bedankt!",
        "Alvast bedankt.",
        "Het is dringend.",
        "Hou het kort.",
        "Wat vinden jullie?",
        "Groetjes.",
    ),
    "tr": ("Teşekkürler!", "Şimdiden teşekkürler.", "Biraz acil.", "Lütfen kısa yaz.", "Ne dersiniz?", "Sevgiler."),
    "hi": ("धन्यवाद!", "पहले से धन्यवाद।", "थोड़ा जल्दी है।", "कृपया छोटा रखें।", "आपका क्या ख़याल है?", "शुक्रिया।"),
    "bn": ("ধন্যবাদ!", "আগাম ধন্যবাদ।", "একটু তাড়া আছে।", "ছোট করে লিখো।", "তোমার কী মনে হয়?", "শুভেচ্ছা রইল।"),
    "pl": ("Dzięki!", "Trochę pilne.", "Krótko, proszę.", "Z góry dziękuję."),
    "ru": ("Спасибо!", "Это немного срочно.", "Коротко, пожалуйста.", "Заранее спасибо."),
    "id": ("Terima kasih!", "Agak mendesak.", "Singkat saja ya.", "Makasih sebelumnya."),
    "vi": ("Cảm ơn!", "Hơi gấp.", "Viết ngắn thôi nhé.", "Cảm ơn trước nha."),
    "th": ("ขอบคุณครับ", "ด่วนนิดนึง", "ขอสั้น ๆ", "ขอบคุณล่วงหน้าค่ะ"),
    "zh": ("谢谢!", "有点急。", "简短点。", "先谢了。"),
    "ja": ("ありがとう!", "少し急ぎです。", "短めでお願いします。", "よろしくお願いします。"),
    "ko": ("감사합니다!", "좀 급해요.", "짧게 부탁해요.", "미리 감사드려요."),
    "ar": ("شكرا!", "الأمر مستعجل قليلا.", "باختصار من فضلك.", "شكرا مقدما."),
    "tl": ("Salamat!", "Medyo urgent.", "Paikliin lang po.", "Salamat in advance."),
}
EVERYDAY = (
    "The weather has been strange all week.",
    "Our train was twenty minutes late again.",
    "I spent the morning sorting old books in the attic.",
    "The bakery on the corner has a new owner.",
    "My sister is visiting with her two dogs.",
    "We finally painted the kitchen a light green.",
    "Yesterday's match ended in a draw.",
    "The team meeting moved to the afternoon.",
    "I'm learning to play the ukulele, slowly.",
    "There is a street festival on Saturday.",
    "The new printer at the office never works.",
    "I made lentil soup and it turned out fine.",
    "Our garden is full of tomatoes this year.",
    "The library extended its opening hours.",
    "I watched a long film about the sea.",
    "The bus driver told us a joke this morning.",
    "My laptop updates itself at the worst moments.",
    "We are planning a hiking trip in the autumn.",
    "The children drew a map of the neighbourhood.",
    "I forgot my umbrella in the café.",
    "A friend sent me a postcard from the mountains.",
    "The coffee machine needs a new filter.",
    "Our choir rehearses every Tuesday.",
    "I repaired the old bicycle of my grandfather.",
    "They're building a bridge near the station.",
    "I have been reading about the history of maps.",
    "The museum has free entry on the first Sunday.",
    "Somebody left a box of apples by the door.",
    "The report is due at the end of the month.",
    "Our cat sleeps on the keyboard all day.",
    "I'm comparing phones and can't decide.",
    "The lecture on Roman roads was packed.",
    "Lunch was late because the oven broke.",
    "We moved the furniture around the living room.",
    "The podcast had an episode about bees.",
    "It took me an hour to find my keys.",
    "My uncle tells the same story every holiday.",
    "The lake froze over for the first time in years.",
    "Our class visited the town hall.",
    "I'm on the third coffee of the day.",
    "The spreadsheet has too many columns.",
    "A colleague is retiring after thirty years.",
    "The recipe asks for more butter than I have.",
    "We played board games until midnight.",
    "The dentist's waiting room has better magazines than mine.",
    "Someone is practising the trumpet next door.",
)


def carried(carrier: str, phrase: str) -> str:
    """The phrase inside its carrier; `{X}` starts a sentence."""
    return carrier.replace("{x}", phrase).replace("{X}", phrase[:1].upper() + phrase[1:])


def surrounded(text: str, rng: random.Random, language: str = "en") -> str:
    """The text with an opening or an ending sentence, or somewhere inside an everyday paragraph."""
    chance = rng.random()
    if language == "en" and chance < 0.1:
        sentences = rng.sample(EVERYDAY, rng.randint(2, 7))
        sentences.insert(rng.randint(0, len(sentences)), text)
        return " ".join(sentences)
    if chance < 0.4:
        text = f"{rng.choice(OPEN[language])} {text}"
    if 0.3 < chance < 0.6:
        text = f"{text} {rng.choice(CLOSE[language])}"
    return text


def _typo(text: str, rng: random.Random) -> str:
    at = rng.randrange(1, max(2, len(text) - 2))
    match rng.randrange(3):
        case 0:
            return text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :]
        case 1:
            return text[:at] + text[at + 1 :]
        case _:
            return text[:at] + text[at : at + 1] + text[at:]


def roughened(text: str, rng: random.Random) -> str:
    """The text as people type it: sometimes lower or upper case, without its stop, with a typo."""
    chance = rng.random()
    if chance < 0.16:
        text = text.lower()
    elif chance < 0.19:
        text = text.upper()
    ending = rng.random()
    if ending < 0.2:
        text = text.rstrip(".?!")
    elif ending < 0.25:
        text = text.rstrip(".?!") + rng.choice(("!!", "...", " !", "??", "?!", "!"))
    typos = rng.random()
    for _ in range((typos < 0.14) + (typos < 0.04)):
        text = _typo(text, rng)
    return text.replace("'", "’") if rng.random() < 0.08 else text
