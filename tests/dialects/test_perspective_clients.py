"""Perspective's own examples against a running server: what their users change is the address and the key.

The examples are those of Perspective's documents: Google's Python library by the discovery document, `requests`, and
curl's body, whose names have no quotes.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
import requests
from googleapiclient import discovery
from googleapiclient.errors import HttpError

from guard.access.keys import make, written
from tests.conftest import Server, serving

GERMAN = "Das Wetter in Hamburg ist heute wieder einmal schlecht, wie immer im November."


class Keyed(NamedTuple):
    """A server that asks for keys, and one."""

    server: Server
    key: str


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """One server for all of these tests."""
    file = tmp_path_factory.mktemp("clients") / "keys.yaml"
    key, shown = make("forum", now=datetime.now(UTC))
    written(file, [key])
    with serving(GUARD_KEYS=str(file)) as server:
        yield Keyed(server, shown)


@pytest.fixture
def client(keyed: Keyed) -> Iterator[Any]:
    """The client as its users make it."""
    made = discovery.build(
        "commentanalyzer",
        "v1alpha1",
        developerKey=keyed.key,
        discoveryServiceUrl=f"{keyed.server.url}/$discovery/rest?version=v1alpha1",
        static_discovery=False,
    )
    yield made
    made.close()


def test_the_first_example_works(client: Any):
    """With the answer's fields where its readers look for them."""
    analyze_request = {"comment": {"text": "friendly greetings from python"}, "requestedAttributes": {"TOXICITY": {}}}
    response = client.comments().analyze(body=analyze_request).execute()
    score = response["attributeScores"]["TOXICITY"]["summaryScore"]
    assert score["value"] < 0.1
    assert score["type"] == "PROBABILITY"
    assert response["attributeScores"]["TOXICITY"]["spanScores"] == [{"begin": 0, "end": 30, "score": score}]
    assert response["languages"] == response["detectedLanguages"] == ["en"]


def test_all_attributes_are_told_at_once(client: Any):
    """The six of production and the two experimental ones; the hostile text has the higher scores."""
    flavours = ["TOXICITY", "SEVERE_TOXICITY", "IDENTITY_ATTACK", "INSULT", "PROFANITY", "THREAT"]
    flavours += ["SEXUALLY_EXPLICIT", "FLIRTATION"]
    values = []
    for text in ("You are an idiot. I will kill you.", "You are kind. I will call you."):
        body = {
            "comment": {"text": text},
            "languages": ["en"],
            "requestedAttributes": {flavour: {} for flavour in flavours},
            "spanAnnotations": True,
            "doNotStore": True,
            "clientToken": "comment-53922",
        }
        response = client.comments().analyze(body=body).execute()
        assert response["clientToken"] == "comment-53922"
        scores = response["attributeScores"]
        assert list(scores) == flavours
        values.append([scores[flavour]["summaryScore"]["value"] for flavour in flavours])
    hostile, kind = values
    assert all(hostile[n] > kind[n] for n in (0, 1, 3, 4, 5))


def test_an_error_is_googles(client: Any):
    """With what programs look at: the status, the kind, the attribute."""
    body = {"comment": {"text": GERMAN}, "requestedAttributes": {"THREAT": {}}}
    with pytest.raises(HttpError) as refused:
        client.comments().analyze(body=body).execute()
    assert refused.value.resp.status == 400
    assert "Attribute THREAT does not support request languages" in refused.value.reason
    (own, _) = refused.value.error_details
    assert own["errorType"] == "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE"
    assert own["languageNotSupportedByAttributeError"]["attribute"] == "THREAT"
    body = {"comment": {"text": "x"}, "requestedAttributes": {"UNSUBSTANTIAL": {}}}
    with pytest.raises(HttpError, match="Unknown requested attribute: UNSUBSTANTIAL"):
        client.comments().analyze(body=body).execute()


def test_a_suggested_score_is_an_exception(client: Any):
    """Nobody believes that it was taken."""
    body = {"comment": {"text": "x"}, "attributeScores": {"TOXICITY": {"summaryScore": {"value": 0}}}}
    with pytest.raises(HttpError) as refused:
        client.comments().suggestscore(body=body).execute()
    assert refused.value.resp.status == 501
    assert "guard test" in refused.value.reason


def test_a_wrong_key_is_an_exception(keyed: Keyed):
    """When something is asked for; the document is everybody's."""
    url = f"{keyed.server.url}/$discovery/rest?version=v1alpha1"
    with discovery.build(
        "commentanalyzer", "v1alpha1", developerKey="wrong", discoveryServiceUrl=url, static_discovery=False
    ) as client:
        body = {"comment": {"text": "x"}, "requestedAttributes": {"TOXICITY": {}}}
        with pytest.raises(HttpError) as refused:
            client.comments().analyze(body=body).execute()
    assert refused.value.resp.status == 401


def test_the_example_with_requests_works(keyed: Keyed):
    """Its body has no content type."""
    url = f"{keyed.server.url}/v1alpha1/comments:analyze?key={keyed.key}"
    data_dict = {
        "comment": {"text": "what kind of idiot name is foo?"},
        "languages": ["en"],
        "requestedAttributes": {"TOXICITY": {}},
    }
    response = requests.post(url=url, data=json.dumps(data_dict), timeout=30)
    response_dict = json.loads(response.content)
    assert response_dict["attributeScores"]["TOXICITY"]["summaryScore"]["value"] > 0.5


def test_the_example_with_curl_works(keyed: Keyed):
    """To the letter."""
    body = """{comment: {text: "what kind of idiot name is foo?"},
          languages: ["en"],
          requestedAttributes: {TOXICITY:{}} }"""
    response = requests.post(
        f"{keyed.server.url}/v1alpha1/comments:analyze?key={keyed.key}",
        data=body,
        headers={"Content-Type": "application/json"},
        timeout=30,
    )
    assert response.status_code == 200
    assert response.json()["attributeScores"]["TOXICITY"]["summaryScore"]["value"] > 0.5
