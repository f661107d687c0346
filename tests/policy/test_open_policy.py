import sys

import pytest

from agentgym.errors import ConfigError
from agentgym.policy import describe, open_policy
from agentgym.policy.basic import HumanPolicy, OraclePolicy, RandomPolicy
from agentgym.types import Completion


class Mine:
    wants = "admissible"

    def __init__(self, greeting="hello"):
        self.greeting = greeting

    async def act(self, messages, *, sampling, session, admissible=None):
        return Completion(self.greeting)


class NotAsync:
    def act(self, messages, **_):
        return Completion("")


class WantsTheMoon(Mine):
    wants = "moon"


@pytest.fixture(autouse=True)
def no_openai_environment(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setitem(sys.modules, "my_policies", sys.modules[__name__])


@pytest.mark.parametrize(
    ("spec", "kind"), [("oracle", OraclePolicy), ("random", RandomPolicy), ("human", HumanPolicy)]
)
def test_a_word_names_a_built_in_policy(spec, kind):
    assert type(open_policy(spec)) is kind
    assert describe(open_policy(spec)) == {"policy": spec}


def test_a_server_is_named_by_model_and_url():
    policy = open_policy("openai:org/model@v2@http://127.0.0.1:8000/v1/", timeout_s=5)
    assert (policy.model, policy.base_url) == ("org/model@v2", "http://127.0.0.1:8000/v1")


def test_a_model_alone_is_sought_at_the_base_url_of_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://10.0.0.1:1/v1")
    assert open_policy("openai:m").base_url == "http://10.0.0.1:1/v1"


def test_the_openai_api_needs_a_key_and_the_manifest_never_holds_it(monkeypatch):
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        open_policy("openai:gpt-9")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    policy = open_policy("openai:gpt-9")
    assert policy.base_url == "https://api.openai.com/v1"
    assert describe(policy)["model"] == "gpt-9"
    assert "sk-secret" not in str(describe(policy))


def test_a_model_of_the_library_is_a_policy_by_its_name(model_path):
    for spec in ("smollm2", "llamacpp", f"llamacpp:{model_path}"):
        policy = open_policy(spec, constrain=True)
        assert policy.path == model_path
        assert policy.wants == "admissible"


def test_a_class_of_ones_own_is_named_by_module_and_class():
    policy = open_policy("my_policies:Mine", greeting="hi")
    assert policy.greeting == "hi"
    assert describe(policy)["policy"].endswith(":Mine")


@pytest.mark.parametrize(
    ("spec", "options", "told"),
    [
        ("orcale", {}, "did you mean 'oracle'"),
        ("oracle:x", {}, "no policy 'oracle:x'"),
        ("", {}, "give one of oracle, random, human"),
        ("random", {"tau": 1}, r"options \['tau'\]"),
        ("openai", {}, "needs a model"),
        ("openai:m@localhost:8000/v1", {}, "write 'openai:m@http://localhost:8000/v1'"),
        ("openai:m@http://", {}, "'http://' is not a URL"),
        ("openai:m@http://h:99999999/v1", {}, "is not a URL"),
        ("openai:m@http://h/v1", {"max_retries": -1}, "max_retries is -1"),
        ("llamacpp:/nowhere.gguf", {}, "'/nowhere.gguf' is not a file"),
        ("no_such_module:Thing", {}, "no module 'no_such_module'"),
        ("my_policies:Mien", {}, "did you mean 'Mine'"),
        ("my_policies:NotAsync", {}, "async def act"),
        ("my_policies:ACTIONS", {}, "has no 'ACTIONS'"),
        ("my_policies:WantsTheMoon", {}, "wants is 'moon'"),
        ("my_policies:Mine", {"nonsense": 1}, "it takes greeting"),
    ],
)
def test_what_cannot_be_opened_is_refused_with_what_to_do(spec, options, told):
    with pytest.raises(ConfigError, match=told):
        open_policy(spec, **options)
