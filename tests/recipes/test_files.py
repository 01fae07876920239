"""What the recipes name is there: routes, policies, versions, files."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.conftest import ROOT, Server
from tests.recipes.conftest import ADDRESS, RECIPES

README = (RECIPES / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
FILES = sorted(RECIPES.rglob("*.yaml"))
PROMPTFOO = [path for path in FILES if path.parent.name == "promptfoo"]
# What each of the tools' clients asks below the address that it is given.
ROUTES = {
    "openai:chat": "/chat/completions",
    "azure:chat": "/openai/deployments/mistral/chat/completions",
    "openai:moderation": "/moderations",
    "openai.OpenAICompatible": "chat/completions",
}


def read(path: Path) -> Any:
    """A recipe."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def asked(path: Path) -> set[str]:
    """The addresses that a recipe's tool will ask."""
    recipe = read(path)
    if path.parent.name == "garak":
        kind = recipe["plugins"]["target_type"]
        family, name = kind.split(".")
        return {recipe["plugins"]["generators"][family][name]["uri"] + ROUTES[kind]}
    clients = [client for client in recipe["providers"] if client != "echo"]
    clients.append(recipe["defaultTest"]["options"]["provider"]["moderation"])
    return {client["config"]["apiBaseUrl"] + ROUTES[client["id"].rpartition(":")[0]] for client in clients}


def test_there_are_recipes_for_both_tools():
    """And each is named in the page that leads to them."""
    assert {path.parent.name for path in FILES} == {"promptfoo", "garak"}
    for path in FILES:
        assert str(path.relative_to(RECIPES)) in README, path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_a_recipe_asks_is_a_route(path: Path, server: Server):
    """It reads the body: an empty one is a bad request, not an unknown address."""
    addresses = asked(path)
    assert addresses
    for address in addresses:
        route = address.removeprefix(ADDRESS)
        assert route != address, address
        answer = server.client.post(route, json={})
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error"), route
    assert server.client.post("/v1/none", json={}).status_code == 404


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_recipe_asks_anybody_else(path: Path):
    """Every address is Guard's own."""
    addresses = re.findall(r"https?://[^\s,}]+", path.read_text(encoding="utf-8"))
    assert addresses
    assert all(httpx.URL(address).netloc == httpx.URL(ADDRESS).netloc for address in addresses)


@pytest.mark.parametrize("path", PROMPTFOO, ids=lambda path: path.name)
def test_every_case_of_a_recipe_is_held_to_something(path: Path):
    """Both ways: something must be found, something must not."""
    recipe = read(path)
    found = {("not-" in held["type"]) for case in recipe["tests"] for held in case["assert"]}
    assert found == {True, False}
    (variable,) = re.findall(r"{{(\w+)}}", recipe["prompts"][0])
    for case in recipe["tests"]:
        assert case["vars"][variable]
        assert case["assert"]


def test_policies_that_are_named_are_there():
    """In the recipes' comments and in the page."""
    texts = [path.read_text(encoding="utf-8") for path in FILES]
    named = set(re.findall(r"policy: ([\w-]+)", "\n".join([README, *texts])))
    assert named == {"strict"}
    assert all((ROOT / "policies" / name / "policy.yaml").is_file() for name in named)


@pytest.mark.parametrize("tool", ["promptfoo", "garak"])
def test_the_page_has_the_version_that_is_tried(tool: str):
    """The one in the Makefile, in every command that names one."""
    (version,) = re.findall(rf"^{tool.upper()}_VERSION := (\S+)$", MAKEFILE, re.MULTILINE)
    told = set(re.findall(rf"{tool}(?:@|==)([\d.]+\d)", README))
    assert told == {version}
