"""What is wrong with a file: all of it at once, each with its path, its line and what was meant."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from receiver.config import Settings, parse, read
from receiver.document import load

SECRET = "https://hooks.slack.com/services/T0/B0/canary-9e8d"


@pytest.fixture
def base(tmp_path: Path) -> str:
    """Return a good file, up to its policy."""
    (tmp_path / "token").write_text("a-token")
    (tmp_path / "url").write_text(SECRET)
    sinks = f"{{all: {{kind: slack-webhook, url_file: {tmp_path}/url}}}}"
    notify = f"notify: {{sinks: {sinks}, routes: {{default: [all]}}}}"
    return f"""\
auth: {{webhook: {{bearer_tokens: [{{file: {tmp_path}/token}}]}}}}
kubernetes: {{namespaces: [shop]}}
{notify}
"""


def wrong(text: str) -> list[str]:
    found = parse(text)
    assert isinstance(found, list)
    return [str(each) for each in found]


def test_the_base_of_these_tests_is_good(base: str) -> None:
    assert isinstance(parse(base), Settings)


NOBODY = (
    "auth.webhook (line 2): no credential is configured: anybody could post alerts"
    " (--insecure if you mean it)"
)
EVERYTHING = (
    "policy.rollback_matchers[0] (line 11): fits alerts that carry none of its labels:"
    " name at least one that must"
)
KIND = (
    "notify.sinks.pagerduty.kind (line 16): must be slack, slack-webhook, pagerduty,"
    " webhook, email or apprise; did you mean pagerduty?"
)


def test_all_problems_are_told_at_once_from_top_to_bottom(tmp_path: Path) -> None:
    text = f"""\
server: {{port: "8080", body_limit: 33554432, deadine: 10s, drain: 0s}}
auth:
  webhok: {{}}
  people:
    tokens:
    - {{name: a, file: {tmp_path}/nope, namespaces: []}}
kubernetes: {{namespaces: [shop, Shop]}}
policy:
  mode: on
  settle: 10
  rollback_matchers: [[]]
  budget: {{}}
  mode: act
notify:
  sinks:
    pagerduty: {{kind: pagerdutty}}
    eng: {{kind: slack-webhook, url_fil: x}}
  routes:
    critical: [enng]
    default: [eng]
12: x
"""
    assert wrong(text) == [
        "server.body_limit (line 1): a size is written with its unit, such as 32MiB",
        "server.deadine (line 1): is no setting; did you mean deadline?",
        "server.drain (line 1): must be longer than 0 and at most a year",
        "server.port (line 1): must be a valid integer",
        NOBODY,
        "auth.webhok (line 3): is no setting; did you mean webhook?",
        "auth.people.tokens[0].file (line 6): there is no such file",
        "auth.people.tokens[0].namespaces (line 6): must hold at least one",
        "kubernetes.namespaces[1] (line 7): is no name of a namespace",
        "policy.mode (line 9): must be 'shadow' or 'act'",
        "policy.settle (line 10): a duration is written with its unit, such as 90s or 10m",
        EVERYTHING,
        "policy.budget (line 12): is no setting; did you mean budgets?",
        "policy.mode (line 13): is there twice",
        KIND,
        "notify.sinks.eng.url_fil (line 17): is no setting; did you mean url_file?",
        "notify.routes.critical[0] (line 19): there is no sink 'enng'; did you mean eng?",
        "line 21: the key '12' is no text: quote it",
    ]


# (what is added to the good file, what is said of it)
ADDED = [
    ("polcy: {mode: act}", "polcy (line 4): is no setting; did you mean policy?"),
    ("policy: {mod: act}", "policy.mod (line 4): is no setting; did you mean mode?"),
    ("policy: act", "policy (line 4): must be a mapping: Policy"),
    ("policy: []", "policy (line 4): must be a mapping: Policy"),
    ("releases: {plans: []}", "releases (line 4): is no setting; did you mean release?"),
    ("contact: []", "contact (line 4): is no setting; did you mean contacts?"),
    ("contacts: [{role: CTO}]", "contacts[0].contact (line 4): is missing"),
    (
        "links: {receiver_url: 'http://rollback.example.com'}",
        "links.receiver_url (line 4): must begin with https://",
    ),
    (
        "links: {prometheus_url: 'javascript:alert(1)'}",
        "links.prometheus_url (line 4): is no URL such as http://",
    ),
    ("policy: {freezes: []}", "policy.freezes (line 4): is no setting; did you mean freeze?"),
    ("policy: {breaker: {share: 0%}}", "policy.breaker.share (line 4): is a share from 1% to"),
    ("policy: {breaker: {targets: 0}}", "policy.breaker.targets (line 4): "),
    (
        "policy: {budgets: {per_target: [1 per hour]}}",
        "policy.budgets.per_target[0] (line 4): not a duration: 'hour'",
    ),
    (
        "policy: {budgets: {per_cluster: [3 per 30d]}}",
        "policy.budgets.per_cluster[0] (line 4): must be within 168h",
    ),
    (
        "policy: {freeze: [{start: '18:00', end: 'late'}]}",
        "policy.freeze[0] (line 4): start and end are both like 18:30, or both like",
    ),
    (
        "policy: {freeze: [{start: '2026-12-26', end: '2026-12-24'}]}",
        "policy.freeze[0] (line 4): it ends before it starts",
    ),
    (
        "policy: {freeze: [{start: '08:00', end: '09:00', timezone: Mars/Olympus}]}",
        "policy.freeze[0].timezone (line 4): is no time zone",
    ),
    (
        "policy: {freeze: [{start: '08:00', end: '09:00', days: [payday]}]}",
        "policy.freeze[0].days[0] (line 4): ",
    ),
    ("server: {tls: {cert_file: x}}", "server.tls (line 4): is no setting"),
    ("prometheus: {url: x}", "prometheus.url (line 4): is no URL such as http://prom"),
    ("prometheus: {url: 'ftp://x'}", "prometheus.url (line 4): is no URL such as"),
    ("prometheus: {url: 'http://a:b@x'}", "prometheus.url (line 4): is no URL such as"),
    ("prometheus: {url: 'http://x:0'}", "prometheus.url (line 4): is no URL such as"),
    ("prometheus: {url: 'http://x:y'}", "prometheus.url (line 4): is no URL"),
    ("prometheus: {url: 'http://x?a=b'}", "prometheus.url (line 4): is no URL such as"),
    ('prometheus: {url: "http://x/\\a"}', "prometheus.url (line 4): is no URL"),
    ("prometheus: {token_file: nope}", "prometheus.token_file (line 4): there is no such file"),
    ("policy: {target: best}", "policy.target (line 4): must be 'previous' or 'verified'"),
    ("server: {port: 70000}", "server.port (line 4): must be less than or equal to 65535"),
    ("server: {port: 1:30}", "server.port (line 4): must be a valid integer"),
    ("server: {port: true}", "server.port (line 4): must be a valid integer"),
    ("cluster: {name: 12}", "cluster.name (line 4): must be a valid string"),
    ("cluster: {name: true}", "cluster.name (line 4): must be a valid string"),
    ("targets: {pod: []}", "targets.pod (line 4): must hold at least one"),
    ("targets: {pod: [exported-pod]}", "targets.pod[0] (line 4): is no name of a label"),
    ("targets: {pod: pod}", "targets.pod (line 4): must be a valid tuple"),
    ("policy: {window: 5}", "such as 90s or 10m"),
    ("policy: {window: 5.5}", "such as 90s or 10m"),
    ("policy: {window: 0s}", "must be longer than 0 and at most a year"),
    ("policy: {window: 2y}", "must be longer than 0 and at most a year"),
    ("policy: {window: 999999999999y}", "policy.window (line 4): "),
    ("policy: {window: -5m}", "policy.window (line 4): not a duration"),
    ("policy: {window: 5 m}", "policy.window (line 4): not a duration"),
    ("policy: {window: 1m1h}", "policy.window (line 4): not a duration"),
    ("policy: {mode: dry}", "policy.mode (line 4): must be 'shadow' or 'act'"),
    ("policy: {rollback_matchers: x}", "policy.rollback_matchers (line 4): "),
    ("policy: {rollback_matchers: [team]}", "not a matcher"),
    ('policy: {rollback_matchers: [["team!=shop"]]}', "fits alerts that carry none"),
    ('policy: {rollback_matchers: [["team=~.*"]]}', "fits alerts that carry none"),
    ("policy: {rollback_matchers: [[1]]}", "not a matcher"),
    ("policy: {rollback_matchers: [['team=~(']]}", "not a pattern"),
]


@pytest.mark.parametrize(("added", "text"), ADDED, ids=[each for each, _ in ADDED])
def test_one_wrong_setting_is_one_problem(base: str, added: str, text: str) -> None:
    [problem] = wrong(base + added)
    assert text in problem


YAML = [
    ("a: [", "line 1: "),
    ("a: b: c", "line 1: mapping values are not allowed here"),
    ("a:\n\t- b", "line 2: found character '\\t' that cannot start any token"),
    ("- a\n- b", "the top level must be a mapping"),
    ("just text", "the top level must be a mapping"),
    ("a: 1\n---\nb: 2", "line 2: but found another document"),
    ("a: \x00", "control characters"),
    ("a: *b", "line 1: found undefined alias"),
    ("[" * 5000, "is nested too deeply"),
]


@pytest.mark.parametrize(("text", "expected"), YAML, ids=range(len(YAML)))
def test_what_is_no_yaml_is_one_problem_with_its_line(text: str, expected: str) -> None:
    [problem] = wrong(text)
    assert expected in problem


@pytest.mark.parametrize(
    "text", ["cluster: !!python/object/apply:os.system [x]", "cluster: {name: !!binary eA==}"]
)
def test_a_tag_makes_nothing(base: str, text: str) -> None:
    assert wrong(base + text)


def test_keys_are_text_and_there_once(base: str) -> None:
    text = "policy: {mode: act, mode: shadow, on: 1, ~: 2, 3: 4, [a]: 5}"
    problems = wrong(base + text)
    assert "policy.mode (line 4): is there twice" in problems
    assert "policy (line 4): the key '3' is no text: quote it" in problems
    assert "policy.on (line 4): is no setting" in problems
    assert len([each for each in problems if "is no text" in each]) == 3


SCALARS: list[tuple[str, Any]] = [
    ("yes", "yes"),
    ("no", "no"),
    ("on", "on"),
    ("off", "off"),
    ("y", "y"),
    ("true", True),
    ("False", False),
    ("12:30", "12:30"),
    ("010", 10),
    ("0x1f", "0x1f"),
    ("1_000", "1_000"),
    ("2026-01-01", "2026-01-01"),
    ("1e3", 1000.0),
    (".5", 0.5),
    ("-7", -7),
    ("=", "="),
    ("'7'", "7"),
    ("9" * 30, "9" * 30),
    (".inf", ".inf"),
]


@pytest.mark.parametrize(("text", "value"), SCALARS, ids=[each for each, _ in SCALARS])
def test_a_scalar_is_what_it_looks_like(text: str, value: Any) -> None:
    document = load(f"a: {text}")
    found = document.value["a"]
    assert (found, type(found)) == (value, type(value))


def test_a_mapping_that_holds_itself_is_told_and_not_followed() -> None:
    document = load("a: &a {b: *a}")
    assert "holds itself" in document.problems[0].text


def test_a_few_lines_do_not_become_gigabytes() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    document = load("\n".join(lines))
    assert [each.text for each in document.problems] == ["holds itself, or far too much"]


# --- secrets


def sink(base: str, text: str) -> str:
    start = base.index("{kind")
    return base[:start] + text + base[base.index("}", start) + 1 :]


SINKS = [
    ("{kind: slack-webhook}", "notify.sinks.all (line 3): needs url_file or url_env, one of"),
    ("{kind: pagerduty}", "notify.sinks.all (line 3): needs routing_key_file or routing_key_env"),
    ("{kind: slack-webhook, url_file: /nope}", "notify.sinks.all.url_file (line 3): there is no"),
    ("{kind: slack-webhook, url_file: /}", "cannot be read (IsADirectoryError)"),
    ("{kind: slack-webhook, url_file: EMPTY}", "notify.sinks.all.url_file (line 3): is empty"),
    ("{kind: slack-webhook, url_file: LINES}", "holds more than one line of text"),
    ("{kind: slack-webhook, url_file: BYTES}", "cannot be read (UnicodeDecodeError)"),
    (f"{{kind: slack-webhook, url_file: '{SECRET}'}}", "is the name of a file, not the URL"),
    ("{kind: slack-webhook, url_env: NOT_THERE}", "there is no such environment variable"),
    ("{kind: slack-webhook, url_env: IS_EMPTY}", "notify.sinks.all.url_env (line 3): is empty"),
    ("{kind: slack-webhook, url_env: 'a b'}", "is no name of an environment variable"),
    ("{url_file: x}", "notify.sinks.all.kind (line 3): must be slack, slack-webhook,"),
    ("{kind: slack, url_file: x}", "did you mean kind slack-webhook?"),
    ("{kind: slack-webhook, routing_key_file: x}", "routing_key_file (line 3): is no setting"),
    (
        "{kind: pagerduty, routing_key_file: KEY, endpoint: 'http://evil.example'}",
        "notify.sinks.all.endpoint (line 3): must begin with https://",
    ),
    ("{kind: pagerduty, routing_key_file: KEY, endpoint: 'https://'}", "is no URL"),
    ("{kind: pagerduty, routing_key_file: KEY, endpoint: 'https://u:p@x'}", "is no URL"),
]


@pytest.mark.parametrize(("text", "expected"), SINKS, ids=range(len(SINKS)))
def test_a_sink_that_cannot_work_is_told_without_its_secret(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    monkeypatch.setenv("IS_EMPTY", " ")
    monkeypatch.delenv("NOT_THERE", raising=False)
    for name, content in (
        ("EMPTY", b" \n"),
        ("LINES", b"one\ntwo"),
        ("BYTES", b"\xff\xfe"),
        ("KEY", b"0" * 32),
    ):
        (tmp_path / name).write_bytes(content)
        text = text.replace(f": {name}", f": {tmp_path / name}")
    problems = wrong(sink(base, text))
    assert any(expected in each for each in problems), problems
    assert "canary" not in "\n".join(problems)


def test_a_sink_named_like_its_kind_keeps_its_path(base: str) -> None:
    text = base.replace("all:", "pagerduty:").replace("[all]", "[pagerduty]")
    [problem] = wrong(sink(text, "{kind: pagerduty, routing_key_file: /nope}"))
    assert problem == "notify.sinks.pagerduty.routing_key_file (line 3): there is no such file"


@pytest.mark.parametrize(
    "text",
    ["{bearer_tokens: [{file: /nope}]}", "{basic: {username: am, password_file: /nope}}"],
)
def test_a_credential_without_its_file_is_told(base: str, text: str) -> None:
    start = base.index("{bearer")
    end = base.index("}}\n")
    [problem] = wrong(base[:start] + text + base[end:].removeprefix("}"))
    assert problem.endswith("there is no such file")


# --- who is told


ROUTES = [
    ("{critical: [al]}", ["critical[0] (line 3): there is no sink 'al'; did you mean all?"]),
    ("{default: [nobody]}", ["default[0] (line 3): there is no sink 'nobody'"]),
    ("{default: []}", ["critical (line 3): leads to no sink: nobody would hear of critical"]),
    ("{critical: [], default: [all]}", ["critical (line 3): leads to no sink"]),
    ("{critical: [all]}", ["default (line 3): leads to no sink", "info (line 3)", "warning"]),
    ("{critcal: [all], default: [all]}", ["critcal (line 3): is no setting; did you mean crit"]),
    ("{critical: all, default: [all]}", ["critical (line 3): must be a valid tuple"]),
    ("x", [" (line 3): must be a mapping: Routes"]),
]


@pytest.mark.parametrize(("routes", "expected"), ROUTES, ids=[each for each, _ in ROUTES])
def test_each_severity_leads_to_a_sink_that_there_is(
    base: str, routes: str, expected: list[str]
) -> None:
    problems = wrong(base.replace("{default: [all]}", routes))
    for text in expected:
        assert any(f"notify.routes.{text}" in each or text in each for each in problems), problems
    assert all(each.startswith("notify.routes") for each in problems)


def test_without_routes_the_usual_names_must_be_there(base: str) -> None:
    problems = wrong(base.replace(", routes: {default: [all]}", ""))
    assert [each.split(" ")[0] for each in problems] == [
        "notify.routes.critical",
        "notify.routes.default",
        "notify.routes.info",
        "notify.routes.warning",
    ]


def test_nobody_to_tell_and_nowhere_to_write_are_told(base: str) -> None:
    auth = base.splitlines()[0]
    assert wrong(auth) == [
        "kubernetes.namespaces: names none: say which namespaces may be written in",
        "notify.sinks: names none: nobody would hear of anything",
    ]


# --- the file


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    for name, content in (("bytes", b"\xff"), ("huge", b"#" * (2**20 + 1))):
        (tmp_path / name).write_bytes(content)
    for name, text in (
        ("missing", "FileNotFoundError"),
        ("", "IsADirectoryError"),
        ("bytes", "no UTF-8"),
        ("huge", "1MiB"),
    ):
        found = read(tmp_path / name)
        assert isinstance(found, list)
        assert text in str(found[0])


@given(text=st.text() | st.text(alphabet="{}[]:,-&*!|>'\"%@`#~ \nab01"))
def test_no_text_at_all_makes_it_fail_otherwise(text: str) -> None:
    found = parse(text)
    assert isinstance(found, list)
    assert found


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
SECTIONS = st.sampled_from(
    [
        "server",
        "cluster",
        "auth",
        "kubernetes",
        "targets",
        "policy",
        "prometheus",
        "notify",
        "release",
    ]
)


@given(document=st.dictionaries(SECTIONS | st.text(), ANY))
def test_no_document_at_all_makes_it_fail_otherwise(document: dict[str, Any]) -> None:
    assert isinstance(parse(yaml.safe_dump(document)), list)


PEOPLE, ACCOUNTS = "auth.people.kubernetes", "auth.webhook.kubernetes.service_accounts"
OWN = "is the API server's own: whoever sees such a token can use all of it"
WORD = "an audience is one word, such as rollback-receiver"
RBAC = "is no verb of RBAC, such as patch or an invented rollback"
ACCOUNT = "names a ServiceAccount as NAMESPACE/NAME"

# (the part of the people, or of the webhook, what is said of it)
TOKENS = [
    ("people: {kubernetes: true}", f"{PEOPLE} (line 1): must be a mapping"),
    ("people: {kubernetes: {audience: ''}}", f"{PEOPLE}.audience (line 1): {WORD}"),
    ("people: {kubernetes: {audience: a b}}", f"{PEOPLE}.audience (line 1): {WORD}"),
    ("people: {kubernetes: {audience: 5}}", f"{PEOPLE}.audience (line 1): must be a valid string"),
    (
        "people: {kubernetes: {audience: 'https://kubernetes.default.svc'}}",
        f"{PEOPLE}.audience (line 1): {OWN}",
    ),
    (
        "people: {kubernetes: {audience: 'https://kubernetes.default.svc.cluster.local'}}",
        f"{PEOPLE}.audience (line 1): {OWN}",
    ),
    ("people: {kubernetes: {audience: kubernetes}}", f"{PEOPLE}.audience (line 1): {OWN}"),
    ("people: {kubernetes: {verb: '*'}}", f"{PEOPLE}.verb (line 1): {RBAC}"),
    ("people: {kubernetes: {verb: Patch}}", f"{PEOPLE}.verb (line 1): {RBAC}"),
    ("people: {kubernetes: {verb: ''}}", f"{PEOPLE}.verb (line 1): {RBAC}"),
    (
        "people: {kubernetes: {audiense: a}}",
        f"{PEOPLE}.audiense (line 1): is no setting; did you mean audience?",
    ),
    ("webhook: {kubernetes: {}}", f"{ACCOUNTS} (line 1): is missing"),
    (
        "webhook: {kubernetes: {service_accounts: []}}",
        f"{ACCOUNTS} (line 1): must hold at least one",
    ),
    ("webhook: {kubernetes: {service_accounts: [am]}}", f"{ACCOUNTS}[0] (line 1): {ACCOUNT}"),
    ("webhook: {kubernetes: {service_accounts: [A/b]}}", f"{ACCOUNTS}[0] (line 1): {ACCOUNT}"),
    ("webhook: {kubernetes: {service_accounts: [a/]}}", f"{ACCOUNTS}[0] (line 1): {ACCOUNT}"),
    (
        "webhook: {kubernetes: {service_accounts: ['a/b/c']}}",
        f"{ACCOUNTS}[0] (line 1): {ACCOUNT}",
    ),
    (
        "webhook: {kubernetes: {audience: kubernetes.default.svc, service_accounts: [a/b]}}",
        f"auth.webhook.kubernetes.audience (line 1): {OWN}",
    ),
]


@pytest.mark.parametrize(("text", "said"), TOKENS, ids=[each[0] for each in TOKENS])
def test_what_is_wrong_with_tokens_of_kubernetes_is_said(base: str, text: str, said: str) -> None:
    rest = base.partition("\n")[2]
    found = wrong(f"auth: {{{text}}}\n{rest}")
    assert [each for each in found if each.startswith(said)], found
