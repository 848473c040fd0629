"""The adapter against a double on loopback, in virtual time."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from receiver.alerts import TargetLabels
from receiver.controller.ports import Condition, Finding, Subject
from receiver.prometheus import Naming, PrometheusApi
from receiver.prometheus import api as module
from tests.prometheus.double import EXPRESSION, RULE, SIDE, Double, recorded
from tests.virtual import virtual

US = Subject(namespace="shop", deployment="checkout", track="stable")
CART = {"namespace": "shop", "deployment": "cart"}


async def ask(double: Double, *, token_file: str = "", path: str = "") -> Finding:
    async with double.serve() as url:
        api = PrometheusApi(url + path, token_file, Naming())
        try:
            return await api.ask("ErrorRatioHigh", US)
        finally:
            await api.close()


def rule(query: str, **labels: str) -> dict[str, Any]:
    return RULE | {"query": query, "labels": labels}


@virtual
async def test_a_true_expression_is_told_with_its_value() -> None:
    double = Double()
    double.errors("0.3333333333333333")
    found = await ask(double)
    assert found.condition is Condition.TRUE
    assert found.text.startswith("0.3333: sum by (namespace, deployment)")
    assert double.asked == [EXPRESSION]


@virtual
async def test_an_empty_expression_with_data_is_false() -> None:
    double = Double()
    double.errors("0.01")
    found = await ask(double)
    assert found.condition is Condition.FALSE
    assert found.text.startswith("0.01: sum by")
    assert double.asked == [EXPRESSION, SIDE]


@pytest.mark.parametrize("value", [None, "NaN"])
@virtual
async def test_an_empty_expression_without_data_is_not_false(value: str | None) -> None:
    double = Double()
    if value is not None:
        double.vectors[SIDE] = [({"namespace": "shop", "deployment": "checkout"}, value)]
    assert (await ask(double)).condition is Condition.NO_DATA


@virtual
async def test_what_is_true_of_others_is_not_true_of_us() -> None:
    double = Double()
    double.vectors = {EXPRESSION: [(CART, "0.5")], SIDE: [(CART, "0.5")]}
    found = await ask(double)
    assert found.condition is Condition.NO_DATA
    double.vectors[SIDE].append(({"deployment": "checkout"}, "0"))
    assert (await ask(double)).condition is Condition.FALSE


@virtual
async def test_the_labels_of_the_rule_say_whose_it_is() -> None:
    double = Double(rules=[rule("x > 1", deployment="{{ $labels.app }}")])
    double.vectors = {"x > 1": [({"app": "cart"}, "2")], "x": [({"app": "checkout"}, "0")]}
    assert (await ask(double)).condition is Condition.FALSE


@virtual
async def test_each_comparison_needs_data() -> None:
    double = Double(rules=[rule("ratio > 0.05 and on (job) traffic > 10")])
    double.vectors["ratio"] = [({}, "0")]
    found = await ask(double)
    assert (found.condition, found.text) == (Condition.NO_DATA, "no data: traffic")
    double.vectors["traffic"] = [({}, "3")]
    assert (await ask(double)).condition is Condition.FALSE


@virtual
async def test_the_other_side_of_a_comparison_may_be_anybodys() -> None:
    double = Double(rules=[rule("canary > stable")])
    double.vectors = {"canary": [({"deployment": "checkout"}, "0")]}
    assert (await ask(double)).condition is Condition.NO_DATA
    double.vectors["stable"] = [({"deployment": "checkout-stable"}, "0")]
    assert (await ask(double)).condition is Condition.FALSE


@pytest.mark.parametrize("query", ["absent(up)", "up", "(sum(a) or vector(0)) > 5"])
@virtual
async def test_an_expression_that_hides_a_lack_of_data_proves_nothing(query: str) -> None:
    assert (await ask(Double(rules=[rule(query)]))).condition is Condition.UNKNOWN


@virtual
async def test_without_a_rule_of_that_name_nothing_is_proven() -> None:
    other = rule("x > 1") | {"name": "Other"}
    elsewhere = rule("x > 1", namespace="elsewhere")
    double = Double(rules=[other, elsewhere])
    double.vectors["x"] = [({}, "0")]
    found = await ask(double)
    assert (found.condition, double.asked) == (Condition.UNKNOWN, [])


@virtual
async def test_of_rules_of_one_name_the_true_one_counts_then_the_false_one() -> None:
    rules = [rule("absent(x)"), rule("x > 1"), rule("y > 1")]
    double = Double(rules=rules)
    assert (await ask(double)).condition is Condition.NO_DATA
    double.vectors["x"] = [({}, "0")]
    assert (await ask(double)).condition is Condition.FALSE
    double.vectors["y > 1"] = [({}, "2")]
    assert (await ask(double)).condition is Condition.TRUE


@virtual
async def test_too_many_rules_of_one_name_prove_nothing() -> None:
    double = Double(rules=[rule(f"x{i} > 1") for i in range(9)])
    for i in range(9):
        double.vectors[f"x{i}"] = [({}, "0")]
    assert (await ask(double)).condition is Condition.UNKNOWN
    assert len(double.asked) == 2 * module.RULES_MOST


@virtual
async def test_a_query_that_cannot_be_evaluated_proves_nothing() -> None:
    class Faulty(Double):
        async def _answer(self, request: Any) -> Any:
            self.status, self.body = 200, None
            if request.path.endswith("/query"):
                self.status, self.body = 422, recorded("bad_execution")
            return await super()._answer(request)

    found = await ask(Faulty())
    assert found.condition is Condition.UNKNOWN
    assert "cannot be evaluated (execution)" in found.text
    assert "many-to-many" not in found.text


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (302, None, "302"),
        (401, None, "401"),
        (503, b'{"status":"error","errorType":"unavailable","error":"x"}', "503 unavailable"),
        (200, b"<html>", "does not speak"),
        (200, b'{"status":"success","data":{}}', "does not speak"),
        (200, b" " * (module.RULES_READ + 1), "larger than"),
    ],
)
@virtual
async def test_whatever_else_is_answered_is_no_answer(
    status: int, body: bytes | None, says: str
) -> None:
    double = Double(status=status, body=body)
    found = await ask(double)
    assert found.condition is Condition.UNREACHABLE
    assert says in found.text
    assert len(double.requests) == 1


@virtual
async def test_an_answer_that_does_not_come_is_waited_for_5_seconds() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    found = await ask(Double(hangs=True))
    assert found.condition is Condition.UNREACHABLE
    assert 5 <= loop.time() - began < 6


@virtual
async def test_nobody_there_is_no_answer() -> None:
    double = Double()
    async with double.serve() as url:
        pass
    api = PrometheusApi(url, "", Naming())
    found = await api.ask("ErrorRatioHigh", US)
    assert found.condition is Condition.UNREACHABLE
    await api.close()
    assert "shutting down" in (await api.ask("ErrorRatioHigh", US)).text


@virtual
async def test_the_token_is_read_at_each_use_and_never_shown(tmp_path: Path) -> None:
    file, double = tmp_path / "token", Double()
    file.write_text("hidden-1\n")
    async with double.serve() as url:
        api = PrometheusApi(url, str(file), Naming())
        await api.ask("ErrorRatioHigh", US)
        file.write_text("hidden-2")
        double.status = 403
        refused = await api.ask("ErrorRatioHigh", US)
        file.unlink()
        count = len(double.requests)
        missing = await api.ask("ErrorRatioHigh", US)
        await api.close()
    shown = [request.headers["Authorization"] for request in double.requests]
    assert (shown[0], shown[-1]) == ("Bearer hidden-1", "Bearer hidden-2")
    assert len(double.requests) == count
    assert missing.condition is Condition.UNREACHABLE
    assert "hidden" not in refused.text + missing.text + repr(api)


@virtual
async def test_it_may_live_below_a_path() -> None:
    double = Double()
    await ask(double, path="/prometheus/")
    assert double.requests[0].path == "/prometheus/api/v1/rules"
    assert double.requests[0].query["rule_name[]"] == "ErrorRatioHigh"


@virtual
async def test_a_long_expression_is_posted() -> None:
    query = f'x{{y="{"z" * 3000}"}} > 1'
    double = Double(rules=[rule(query)])
    double.vectors[query] = [({}, "7")]
    found = await ask(double)
    assert (found.condition, double.requests[-1].method) == (Condition.TRUE, "POST")
    assert len(found.text) < 200


@virtual
async def test_hostile_text_of_a_rule_stays_on_one_short_line() -> None:
    query = "x{y='\u202e<!channel>`'} > 1 # \n\x1b[2J" + "a" * 500
    found = await ask(Double(rules=[rule(query)]))
    assert found.text.isprintable()
    assert len(found.text) <= module.TEXT


# --- which critical alerts fire

CANARY = Subject(namespace="shop", deployment="checkout-canary", track="canary")
BOTH = (US, CANARY)


async def critical(double: Double, *, naming: Naming | None = None) -> tuple[str, ...] | None:
    async with double.serve() as url:
        api = PrometheusApi(url, "", naming or Naming())
        try:
            return await api.critical(BOTH)
        finally:
            await api.close()


def firing(alertname: str, **labels: str) -> tuple[dict[str, str], str]:
    """Return one element of ALERTS as Prometheus writes it."""
    usual = {
        "__name__": "ALERTS",
        "alertname": alertname,
        "alertstate": "firing",
        "severity": "critical",
        "namespace": "shop",
    }
    return usual | labels, "1"


@virtual
async def test_critical_alerts_are_named_once_and_in_order() -> None:
    double = Double()
    double.vectors[module.CRITICAL] = [
        firing("Meltdown", deployment="checkout"),
        firing("DiskFull", node="n1"),
        firing("Meltdown", deployment="checkout-canary", track="canary"),
        firing("CartDown", deployment="cart"),
        firing("BankDown", namespace="bank"),
        firing("EtcdDown", namespace=""),
    ]
    assert await critical(double) == ("DiskFull", "Meltdown")
    assert double.asked == ['ALERTS{alertstate="firing",severity="critical"}']


@virtual
async def test_where_none_fires_there_is_none() -> None:
    assert await critical(Double()) == ()


@virtual
async def test_labels_are_read_as_they_are_configured() -> None:
    double = Double()
    double.vectors[module.CRITICAL] = [firing("A", ns="shop", namespace="x"), firing("B", ns="x")]
    labels = TargetLabels(namespace=("ns",))
    assert await critical(double, naming=Naming(labels=labels)) == ("A",)
    assert await critical(double) == ("B",)


@virtual
async def test_no_more_than_twenty_critical_alerts_are_named() -> None:
    double = Double()
    names = [f"Alert{index:02}" for index in range(25)]
    double.vectors[module.CRITICAL] = [firing(name) for name in reversed(names)]
    assert await critical(double) == tuple(names[:20])


@virtual
async def test_hostile_names_of_alerts_stay_on_one_short_line() -> None:
    double = Double()
    double.vectors[module.CRITICAL] = [firing("\u202e<!channel>\n\x1b[2J" + "a" * 500), firing("")]
    found = await critical(double)
    assert found is not None
    assert "(no name)" in found
    assert all(name.isprintable() and len(name) <= module.NAME for name in found)


WARNED = b'{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["a store"]}'


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (302, None),
        (401, None),
        (422, recorded("bad_execution")),
        (400, recorded("bad")),
        (503, b'{"status":"error","errorType":"unavailable","error":"x"}'),
        (200, b""),
        (200, b"<html>"),
        (200, b'{"status":"success","data":{}}'),
        (200, recorded("scalar")),
        (200, recorded("matrix")),
        (200, b" " * (module.VECTOR_READ + 1)),
        # What some store did not say may be what fires.
        (200, WARNED),
    ],
)
@virtual
async def test_whatever_else_is_answered_tells_nothing_of_critical_alerts(
    status: int, body: bytes | None
) -> None:
    double = Double(status=status, body=body)
    assert await critical(double) is None
    assert len(double.requests) == 1


@virtual
async def test_critical_alerts_are_waited_for_5_seconds() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await critical(Double(hangs=True)) is None
    assert 5 <= loop.time() - began < 6


@virtual
async def test_nobody_there_tells_nothing_of_critical_alerts(tmp_path: Path) -> None:
    double = Double()
    async with double.serve() as url:
        pass
    api = PrometheusApi(url, "", Naming())
    assert await api.critical(BOTH) is None
    await api.close()
    assert await api.critical(BOTH) is None
    missing = PrometheusApi(url, str(tmp_path / "token"), Naming())
    assert await missing.critical(BOTH) is None
    await missing.close()


@virtual
async def test_what_goes_wrong_within_tells_nothing_of_critical_alerts() -> None:
    def broken() -> Any:
        raise RuntimeError("no session")

    api = PrometheusApi("http://x", "", Naming(), session=broken)
    assert await api.critical(BOTH) is None
