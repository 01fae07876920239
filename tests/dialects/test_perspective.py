"""Perspective's `comments:analyze` over real sockets: the contract, its errors, keys and limits."""

import json
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import jsonschema
import pytest

from guard.access.keys import Rates, make, written
from guard.dialects.perspective import ATTRIBUTES, severe
from tests.conftest import ROOT, Server, serving
from tests.doubles import running_judge_server

ROUTE = "/v1alpha1/comments:analyze"
GERMAN = "Das Wetter in Hamburg ist heute wieder einmal schlecht, wie immer im November."
THREAT = "You are an idiot 😀. I will find you and kill you tonight."
POLICY = """\
version: 1
name: {name}
description: For these tests.
extends: default
"""
POLICIES = {
    "kept": "store_verdicts: all\nstore_texts: true\n",
    "hurried": "deadline_ms: 1\n",
    "hurried-open": "deadline_ms: 1\nwhen_screen_fails: allow\n",
    "judged-open": "when_judge_fails: allow\n",
    "narrow": "categories:\n  sexual: {enabled: false}\n  sexual_minors: {enabled: false}\n",
}


def analyze(server: Server, text: str = "You idiot.", *attributes: str, headers: Any = None, **fields: Any):
    """The answer to a request; TOXICITY where no attribute is named."""
    body = {"comment": {"text": text}, "requestedAttributes": {name: {} for name in attributes or ("TOXICITY",)}}
    return server.client.post(ROUTE, json=body | fields, headers=headers)


def refused(response: httpx.Response, status: int = 400) -> dict[str, Any]:
    """The error, in Google's shape."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = response.json()["error"]
    assert error["code"] == status
    assert error["message"]
    return error


class Own(NamedTuple):
    """A server that asks for keys and has a store and policies of its own; the keys by their owners."""

    server: Server
    keys: dict[str, str]

    def asked(self, key: str = "all", policy: str = "default", text: str = "Hello.", **fields: Any) -> httpx.Response:
        """The answer to a request."""
        headers = {"x-goog-api-key": self.keys[key], "X-Guard-Policy": policy}
        return analyze(self.server, text, headers=headers, **fields)


def write_policies(folder: Path) -> None:
    """The default policy, and those of these tests."""
    shutil.copytree(ROOT / "policies" / "default", folder / "default")
    for name, more in POLICIES.items():
        (folder / name).mkdir()
        (folder / name / "policy.yaml").write_text(POLICY.format(name=name) + more, encoding="utf-8")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    """One server for the tests that need keys or policies."""
    folder = tmp_path_factory.mktemp("perspective")
    write_policies(folder / "policies")
    rights: dict[str, dict[str, Any]] = {
        "all": {}, "kept": {"policies": ("kept",)}, "slow": {"rates": Rates(1, None)}, "admin": {"role": "admin"},
    }  # fmt: skip
    keys = {name: make(name, now=datetime.now(UTC), **more) for name, more in rights.items()}
    written(folder / "keys.yaml", [key for key, _ in keys.values()])
    with serving(
        GUARD_POLICIES=str(folder / "policies"),
        GUARD_KEYS=str(folder / "keys.yaml"),
        GUARD_STORE=str(folder / "records.db"),
        GUARD_LOG_LEVEL="debug",
    ) as server:
        yield Own(server, {name: shown for name, (_, shown) in keys.items()})


class TestAnswers:
    """What is told of a comment."""

    def test_a_comment_has_the_scores_that_were_asked_for(self, server: Server):
        """By the names that they were asked for by, of the whole comment; and our own verdict beside them."""
        names = (*ATTRIBUTES, "INSULT_EXPERIMENTAL", "THREAT@2")
        response = analyze(server, THREAT, *names)
        assert response.status_code == 200
        body = response.json()
        assert list(body["attributeScores"]) == list(names)
        assert (body["languages"], body["detectedLanguages"]) == (["en"], ["en"])
        assert "clientToken" not in body
        native = server.moderate(THREAT).json()["results"][0]
        assert body["guard"]["result"]["categories"] == native["categories"]
        assert body["guard"]["policy"]["name"] == "default"
        assert body["guard"]["id"].startswith("mod_")
        value = {name: scores["summaryScore"]["value"] for name, scores in body["attributeScores"].items()}
        assert value["THREAT"] == value["THREAT@2"] == native["categories"]["violence"]["score"] > 0.8
        assert value["INSULT"] == value["INSULT_EXPERIMENTAL"] == native["categories"]["harassment"]["score"]
        assert value["SEVERE_TOXICITY"] == pytest.approx(severe(value["TOXICITY"]), abs=1e-6)
        assert value["SEXUALLY_EXPLICIT"] < 0.2
        for scores in body["attributeScores"].values():
            assert scores["summaryScore"]["type"] == "PROBABILITY"
            # In UTF-16: the emoji counts twice.
            assert scores["spanScores"] == [{"begin": 0, "end": len(THREAT) + 1, "score": scores["summaryScore"]}]

    def test_spans_say_what_carries_a_score(self, server: Server):
        """Sentence by sentence, in UTF-16; where nothing carries it by itself, the whole comment does."""
        body = analyze(server, THREAT, "THREAT", "SEXUALLY_EXPLICIT", spanAnnotations=True).json()
        wide = THREAT.encode("utf-16-le")
        (span,) = body["attributeScores"]["THREAT"]["spanScores"]
        assert wide[2 * span["begin"] : 2 * span["end"]].decode("utf-16-le").strip() == THREAT[19:].strip()
        assert span["score"]["value"] > 0.8
        (span,) = body["attributeScores"]["SEXUALLY_EXPLICIT"]["spanScores"]
        assert (span["begin"], span["end"]) == (0, len(THREAT) + 1)

    def test_scores_below_a_threshold_are_left_out(self, server: Server):
        """An attribute without any keeps its place."""
        asked = {"THREAT": {"scoreThreshold": 0.5}, "FLIRTATION": {"scoreThreshold": 0.5}, "INSULT": None}
        found = analyze(server, THREAT, requestedAttributes=asked).json()["attributeScores"]
        assert found["THREAT"]["summaryScore"]["value"] >= 0.5
        assert found["FLIRTATION"] == {}
        assert "summaryScore" in found["INSULT"]

    def test_what_is_not_served_is_left_alone(self, server: Server):
        """The token comes back; sessions, communities, what nobody knows, and nulls change nothing."""
        plain = analyze(server).json()
        fields = {"clientToken": "c-1", "sessionId": "s", "communityId": "x", "somethingNew": {"a": 1}, "context": None}
        given = analyze(server, doNotStore=True, languages=None, **fields).json()
        assert given["clientToken"] == "c-1"
        assert given["attributeScores"] == plain["attributeScores"]

    def test_html_is_read_without_its_tags(self, server: Server):
        """As the plain text is; spans lead into the HTML."""
        plain = analyze(server, "You are a worthless idiot.", "INSULT", spanAnnotations=True).json()
        markup = "<!-- -->You are a w<b>orth</b>less&#32;idiot."
        comment = {"text": markup, "type": "HTML"}
        found = analyze(server, "", "INSULT", comment=comment, spanAnnotations=True).json()
        assert found["attributeScores"]["INSULT"]["summaryScore"] == plain["attributeScores"]["INSULT"]["summaryScore"]
        (span,) = found["attributeScores"]["INSULT"]["spanScores"]
        assert markup[span["begin"] : span["end"]] == markup[8:]
        hidden = analyze(server, "", "INSULT", comment={"text": "<img alt='You worthless idiot'>", "type": "HTML"})
        assert hidden.json()["attributeScores"]["INSULT"]["summaryScore"]["value"] > 0.5

    def test_html_of_any_length_is_read(self, server: Server):
        """Also where a thread reads it, and with numbers that Python does not read."""
        padding = "<b></b>" * 2_000
        for markup in (f"{padding}You worthless idiot", f"You worthless &#{'0' * 5_000}105;diot"):
            found = analyze(server, "", "INSULT", comment={"text": markup, "type": "HTML"})
            assert found.status_code == 200
            assert found.json()["attributeScores"]["INSULT"]["summaryScore"]["value"] > 0.5

    def test_context_is_read_with_the_comment(self, judged: Any):
        """In both of its forms, in order; empty entries are left out."""
        server, judge = judged
        entries = [{"text": "first words"}, {"text": ""}, {"text": "<b>second</b> words", "type": "HTML"}]
        article = {"article": {"text": "first words"}, "parentComment": {"text": "second words"}}
        for n, context in enumerate(({"entries": entries}, {"articleAndParentComment": article})):
            assert analyze(server, f"{GERMAN} {n}", context=context).status_code == 200
            prompt = judge.asked("/v1/completions")[-1]["prompt"][0]
            places = [prompt.index(said) for said in ("first words", "second words", "Hamburg")]
            assert places == sorted(places)

    def test_a_body_may_be_as_in_perspectives_own_example(self, server: Server):
        """Names without quotes; strings stay what they are."""
        body = '{comment: {text: "a: {b: \\"c\\"} you idiot"}, languages: ["en"], requestedAttributes: {TOXICITY:{}} }'
        response = server.client.post(ROUTE, content=body)
        assert response.status_code == 200
        told = analyze(server, 'a: {b: "c"} you idiot').json()
        assert response.json()["attributeScores"] == told["attributeScores"]

    def test_odd_bodies_do_not_take_long(self, server: Server):
        """However many names and quotes they have."""
        for piece in (b"a", b'"', b"a ", b'\\"', b"a:", b"a\n"):
            body = b"{" + piece * (1_000_000 // len(piece))
            begin = time.perf_counter()
            assert server.client.post(ROUTE, content=body).status_code == 400
            assert time.perf_counter() - begin < 5


class TestErrors:
    """Google's shape, Perspective's kinds; the field and the remedy are named."""

    @pytest.mark.parametrize(
        ("fields", "kind", "field", "said"),
        [
            ({"comment": {"text": ""}}, "COMMENT_EMPTY", "comment.text", "non-empty"),
            ({"comment": None}, "COMMENT_EMPTY", "comment.text", "non-empty"),
            ({"comment": {"text": " <p> </p>", "type": "HTML"}}, "COMMENT_EMPTY", "comment.text", "no text"),
            ({"comment": {"text": 3}}, "INVALID_REQUEST", "comment.text", "str"),
            ({"comment": {"text": "x", "type": "PDF"}}, "INVALID_REQUEST", "comment.type", "PLAIN_TEXT or HTML"),
            ({"comment": {"text": "x" * 200_001}}, "COMMENT_TOO_LONG", "comment.text", "200000"),
            (
                {"context": {"entries": [{"text": "<b>" * 66_667, "type": "HTML"}]}},
                "COMMENT_TOO_LONG",
                "comment.text",
                "200011 characters",
            ),
            (
                {"comment": {"text": f"<plaintext><b>{'x' * 150_000}", "type": "HTML"}},
                "COMMENT_TOO_LONG",
                "comment.text",
                "200000",
            ),
            ({"requestedAttributes": {}}, "NO_REQUESTED_ATTRIBUTES", "requestedAttributes", "TOXICITY"),
            ({"requestedAttributes": {"SPAM": {}}}, "INVALID_REQUEST", "requestedAttributes.SPAM", "FLIRTATION"),
            ({"requestedAttributes": ["TOXICITY"]}, "INVALID_REQUEST", "requestedAttributes", "object"),
            (
                {"requestedAttributes": {f"TOXICITY@{n}": {} for n in range(65)}},
                "INVALID_REQUEST",
                "requestedAttributes",
                "at most 64",
            ),
            (
                {"requestedAttributes": {"THREAT": {"scoreType": "RAW"}}},
                "INVALID_REQUEST",
                "requestedAttributes.THREAT.scoreType",
                "PROBABILITY",
            ),
            (
                {"requestedAttributes": {"THREAT": {"scoreThreshold": "x"}}},
                "INVALID_REQUEST",
                "requestedAttributes[...].scoreThreshold",
                "float",
            ),
            ({"languages": "en"}, "INVALID_REQUEST", "languages", "array"),
            (
                {"context": {"entries": [{"text": "x"}], "articleAndParentComment": {}}},
                "INVALID_REQUEST",
                "context",
                "one of them",
            ),
            (
                {"context": {"entries": [{"text": "x", "type": "y"}]}},
                "INVALID_REQUEST",
                "context.entries[0].type",
                "HTML",
            ),
        ],
    )
    def test_a_wrong_request_is_refused(self, server: Server, fields: dict[str, Any], kind: str, field: str, said: str):
        """400, with what Perspective's clients look at and where it is."""
        error = refused(analyze(server, **fields))
        assert error["status"] == "INVALID_ARGUMENT"
        own, fields_ = error["details"]
        assert own == {"@type": "type.googleapis.com/google.commentanalyzer.v1alpha1.Error", "errorType": kind}
        assert [violation["field"] for violation in fields_["fieldViolations"]] == [field]
        assert said in error["message"]

    @pytest.mark.parametrize("body", [b"{", b"", b"{'a': 1}", b'{"comment": "\xff"}', b"[" * 9_000])
    def test_what_is_no_json_is_refused(self, server: Server, body: bytes):
        """In the same shape."""
        assert refused(server.client.post(ROUTE, content=body))["details"][0]["errorType"] == "INVALID_REQUEST"

    def test_other_errors_have_the_names_of_googles_statuses(self, server: Server):
        """Too large, the wrong method, no such policy."""
        too_large = server.client.post(ROUTE, content=b"x" * 1_100_000)
        assert refused(too_large, 413)["status"] == "INVALID_ARGUMENT"
        assert refused(server.client.get(ROUTE), 405)["status"] == "UNIMPLEMENTED"
        assert refused(analyze(server, headers={"X-Guard-Policy": "nobodys"}), 404)["status"] == "NOT_FOUND"

    def test_a_policy_without_an_attribute_says_so(self, own: Own):
        """It is not told as 0."""
        response = own.asked(policy="narrow", requestedAttributes={"TOXICITY": {}, "FLIRTATION": {}})
        error = refused(response)
        assert error["details"][1]["fieldViolations"][0]["field"] == "requestedAttributes.FLIRTATION"
        assert "`narrow`" in error["message"]
        assert own.asked(policy="narrow").status_code == 200

    def test_a_screen_that_fails_is_an_error(self, own: Own):
        """There is no score to answer, whatever the policy makes of the failure."""
        text = "Quiet words and so on without end. " * 4_000
        for policy in ("hurried", "hurried-open"):
            response = own.asked(policy=policy, text=text)
            assert refused(response, 503)["status"] == "UNAVAILABLE"
            assert response.headers["Retry-After"] == "1"

    def test_suggested_scores_are_not_taken(self, server: Server):
        """And nobody is thanked for them; the error says where a correction belongs."""
        body = {"comment": {"text": "x"}, "attributeScores": {"TOXICITY": {"summaryScore": {"value": 0}}}}
        error = refused(server.client.post("/v1alpha1/comments:suggestscore", json=body), 501)
        assert error["status"] == "UNIMPLEMENTED"
        assert "guard test" in error["message"]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with a judge, and its judge."""
    policies = tmp_path_factory.mktemp("judged")
    write_policies(policies / "policies")
    with (
        running_judge_server() as judge,
        serving(
            GUARD_JUDGE_URL=judge.url, GUARD_JUDGE_MODEL="tiny", GUARD_POLICIES=str(policies / "policies")
        ) as server,
    ):
        yield server, judge


class TestLanguages:
    """The screen reads English; a judge reads others."""

    @pytest.mark.parametrize("languages", [["de"], ["en", "de"], None])
    def test_what_nobody_reads_is_refused(self, server: Server, languages: list[str] | None):
        """As Perspective does it, so that clients that drop the attribute, or skip the text, still do."""
        error = refused(analyze(server, GERMAN, "INSULT", "THREAT", languages=languages))
        assert error["status"] == "INVALID_ARGUMENT"
        assert "does not support request languages" in error["message"]
        detail = error["details"][0]
        assert detail["errorType"] == "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE"
        more = {"requestedLanguages": languages} if languages else {"detectedLanguages": ["und"]}
        assert detail["languageNotSupportedByAttributeError"] == {"attribute": "INSULT"} | more

    def test_attributes_may_be_dropped_instead(self, server: Server):
        """Where the request says so, and only then."""
        body = analyze(server, GERMAN, dropUnsupportedAttributes=True).json()
        assert body["attributeScores"] == {}
        assert (body["languages"], body["detectedLanguages"]) == (["und"], ["und"])
        assert body["guard"]["result"]["language_supported"] is False

    def test_a_language_that_was_named_is_believed(self, server: Server):
        """What was detected is told beside it."""
        body = analyze(server, GERMAN, languages=["en-US"]).json()
        assert body["languages"] == ["en-US"]
        assert body["detectedLanguages"] == ["und"]
        assert body["attributeScores"]["TOXICITY"]["summaryScore"]

    def test_a_judge_reads_other_languages(self, judged: Any):
        """Every score is its own; without it there is none."""
        server, judge = judged
        for languages in (None, ["de"]):
            response = analyze(server, GERMAN, *ATTRIBUTES, languages=languages)
            assert response.status_code == 200, response.text
            assert list(response.json()["attributeScores"]) == list(ATTRIBUTES)
        judge.faults = [500] * 20
        for n, policy in enumerate(("default", "judged-open")):
            failed = analyze(server, f"{GERMAN} Immer {n}.", headers={"X-Guard-Policy": policy})
            assert refused(failed, 503)["status"] == "UNAVAILABLE"
        judge.faults = []

    def test_a_short_text_in_a_language_that_was_named_is_refused(self, judged: Any):
        """The screen took it for its own language, so that the judge was not asked."""
        error = refused(analyze(judged[0], "Hallo du", languages=["de"]))
        assert error["details"][0]["errorType"] == "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE"


class TestKeys:
    """Who is let in, and what stays of it."""

    def test_a_key_may_come_in_googles_places(self, own: Own):
        """In the address or in a header; the header is looked at first."""
        body = {"comment": {"text": "Hello."}, "requestedAttributes": {"TOXICITY": {}}}
        key = own.keys["all"]
        post = own.server.client.post
        for address, headers in (
            (f"{ROUTE}?key={key}", {}),
            (f"{ROUTE}?alt=json&key={key}", {}),
            (ROUTE, {"X-Goog-Api-Key": key}),
            (ROUTE, {"Authorization": f"Bearer {key}"}),
            (f"{ROUTE}?key=x", {"X-Goog-Api-Key": key}),
        ):
            assert post(address, json=body, headers=headers).status_code == 200, address

    def test_without_a_key_nobody_comes_in(self, own: Own):
        """Neither with a wrong one; elsewhere an address holds no key."""
        post = own.server.client.post
        for address in (
            ROUTE,
            f"{ROUTE}?key=",
            f"{ROUTE}?key=x",
            f"{ROUTE}?key=%ff",
            "/v1alpha1/comments:suggestscore",
        ):
            error = refused(post(address, json={}), 401)
            assert error["status"] == "UNAUTHENTICATED"
            assert "x-goog-api-key" in error["message"]
        assert post(f"/moderate?key={own.keys['all']}", json={"input": "x"}).status_code == 401

    def test_a_key_has_its_policies_and_rates(self, own: Own):
        """Its own policy where none is named, no other's; what it has used up is Google's 429."""
        headers = {"x-goog-api-key": own.keys["kept"]}
        assert analyze(own.server, headers=headers).json()["guard"]["policy"]["name"] == "kept"
        assert refused(own.asked("kept"), 403)["status"] == "PERMISSION_DENIED"
        assert own.asked("slow").status_code == 200
        spent = own.asked("slow")
        assert refused(spent, 429)["status"] == "RESOURCE_EXHAUSTED"
        assert int(spent.headers["Retry-After"]) > 0

    def test_what_is_not_to_be_stored_is_not(self, own: Own):
        """The policy keeps everything; `doNotStore` keeps it from that."""
        admin = {"Authorization": f"Bearer {own.keys['admin']}"}

        def kept(response: httpx.Response) -> list[str]:
            id = response.json()["guard"]["id"]
            page = own.server.client.get("/records?limit=200", headers=admin).json()
            return [record["id"] for record in page["records"] if record["id"].startswith(id)]

        assert len(kept(own.asked("kept", "kept", doNotStore=False))) == 1
        assert len(kept(own.asked("kept", "kept"))) == 1
        assert kept(own.asked("kept", "kept", doNotStore=True)) == []

    def test_a_key_in_an_address_is_in_no_log_and_no_error(self, own: Own):
        """Nor the text, whatever becomes of the request."""
        key = own.keys["all"]
        body = {"comment": {"text": "CANARY words"}, "requestedAttributes": {"TOXICITY": {}}}
        for content in (json.dumps(body), json.dumps(body | {"languages": 1}), "{CANARY", ""):
            for query in (f"key={key}", f"key={key}x", f"key={key}&key=2", f"x=1;key={key}"):
                assert key not in own.server.client.post(f"{ROUTE}?{query}", content=content).text
        assert key not in own.server.client.post(f"/v1alpha1/comments:nothing?key={key}").text
        assert key not in own.server.client.get(f"/$discovery/rest?version=v1alpha1&key={key}").text
        # The middle of a key names it and is no secret.
        secret = key.split("_", 2)[2]
        assert "request_done" in own.server.log()
        assert secret not in own.server.log()
        assert "CANARY" not in own.server.log()
        assert "request_failed" not in own.server.log()


class TestDiscovery:
    """The document by which Google's libraries find the API."""

    def test_it_names_the_address_that_the_client_has_come_by(self, own: Own):
        """Without a key, and behind a proxy; nothing may keep it for somebody else."""
        get = own.server.client.get
        response = get("/$discovery/rest?version=v1alpha1")
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        assert response.json()["rootUrl"] == f"{own.server.url}/"
        headers = {"Host": "guard.example", "X-Forwarded-Proto": "https"}
        assert get("/$discovery/rest", headers=headers).json()["rootUrl"] == "https://guard.example/"
        assert refused(get("/$discovery/rest?version=v2"), 404)["status"] == "NOT_FOUND"
        assert refused(own.server.client.post("/$discovery/rest"), 405)["status"] == "UNIMPLEMENTED"

    def test_its_references_lead_somewhere(self, server: Server):
        """Every schema that is named is there, and every one is named."""
        found = server.client.get("/$discovery/rest").json()
        text = json.dumps([found["schemas"], found["resources"]])
        named = {part.split('"')[0] for part in text.split('"$ref": "')[1:]}
        assert named == set(found["schemas"])

    def test_the_openapi_document_has_the_route(self, server: Server):
        """With its body and its errors; what is not served is not in it."""
        document = server.client.get("/schema/openapi.json").json()
        post = document["paths"][ROUTE]["post"]
        assert {"200", "400", "401", "429", "503"} <= set(post["responses"])
        assert "AnalyzeCommentRequest" in document["components"]["schemas"]
        answer = analyze(server, THREAT, *ATTRIBUTES, spanAnnotations=True, clientToken="x").json()
        jsonschema.validate(answer, document | {"$ref": "#/components/schemas/AnalyzeCommentResponse"})
        assert "/v1alpha1/comments:suggestscore" not in document["paths"]
