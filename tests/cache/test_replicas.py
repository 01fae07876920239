"""Two services that share one Redis, as users run them."""


def test_a_second_replica_knows_what_the_first_has_scored(start_server, server):
    """With one secret: another process, the same verdict, not scored again. Redis holds no text."""
    text = "Please water the canary7291 plants on Tuesday."
    shared = {"GUARD_REDIS_URL": f"redis://127.0.0.1:{server.port}/0", "GUARD_CACHE_SECRET": "sixteen characters"}
    answers = []
    for _ in range(2):
        with start_server(**shared) as replica:
            answers.append(replica.moderate(text).json()["results"][0])
    assert [answer.pop("cached") for answer in answers] == [False, True]
    assert answers[0] == answers[1]
    kept = server.client.keys()
    assert len(kept) == 1
    assert b"canary7291" not in kept[0] + server.client.get(kept[0])


def test_a_service_whose_redis_dies_goes_on(start_server, server):
    """A cache failure is never a request failure; metrics tell."""
    shared = {"GUARD_REDIS_URL": f"redis://127.0.0.1:{server.port}/0", "GUARD_CACHE_SECRET": "sixteen characters"}
    with start_server(**shared) as guard:
        assert guard.moderate("Good morning.").status_code == 200
        server.kill()
        for number in range(6):
            assert guard.moderate(f"Good morning, number {number}.").status_code == 200
        assert "guard_cache_failures_total" in guard.client.get("/metrics").text


def test_a_bad_redis_address_refuses_to_start_without_repeating_it(start_server):
    """The message names the setting; an address can hold a password."""
    import pytest

    with pytest.raises(pytest.fail.Exception) as caught, start_server(GUARD_REDIS_URL="nonsense://user:pass7291@x"):
        pass
    assert "GUARD_REDIS_URL" in str(caught.value)
    assert "pass7291" not in str(caught.value)
