"""`ironfree explain POD` and `ironfree why-not POD NODE`."""

import argparse

from rich.console import Console
from rich.table import Table

from ..objects.json import Json, JsonObject
from .connection import add_arguments as add_client_arguments
from .connection import child, connect, entries, namespace_of
from .get import dump

_STANDING = ("scheduled", "waiting")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_client_arguments(parser)
    parser.add_argument("pod")
    if parser.prog.endswith("why-not"):
        parser.add_argument("node")
    else:
        parser.add_argument("--decision", default="", metavar="ID", help="an earlier one")


def run(arguments: argparse.Namespace) -> int:
    """Ask and print."""
    connection = connect(arguments)
    namespace = namespace_of(arguments, connection)
    path = f"/apis/ironfree.dev/v1/namespaces/{namespace}/explanations"
    spec: JsonObject = {"pod": arguments.pod}
    node = getattr(arguments, "node", "")
    spec |= {"node": node} if node else {"decision": arguments.decision or None}
    _code, answer = connection.request("POST", path, body={"spec": spec})
    if arguments.json:
        print(dump(answer, "json"))
        return 0
    status = child(answer, "status")
    if node:
        _print_why_not(arguments.pod, node, child(status, "whyNot"))
    else:
        _print_explanation(status)
    _print_gang(child(status, "gang"))
    if status.get("hopeless"):
        print(status["hopeless"])
    return 0


def _print_why_not(pod: str, node: str, why: JsonObject) -> None:
    if why.get("feasible"):
        print(f"pod {pod} could run on {node}: score {why.get('total')} ({_scores(why)})")
        return
    print(f"pod {pod} cannot run on {node}:")
    for rule in ({"plugin": why.get("plugin"), "reasons": why.get("reasons")}, *_others(why)):
        print(f"  {rule.get('plugin')}: {_joined(rule.get('reasons'))}")
        for detail in entries(why.get("details") or []):
            if detail.get("plugin") == rule.get("plugin"):
                print(f"    {detail.get('message')}")
    changes = entries(why.get("changes"))
    print("any one of these would do:" if changes else "no change was found that would do")
    for change in changes:
        print(f"  {change.get('change')}")


def _print_gang(gang: JsonObject) -> None:
    if gang:
        numbers = ", ".join(f"{name} {gang.get(name)}" for name in ("minMember", *_STANDING))
        print(f"member of PodGroup {gang.get('podGroup')} ({numbers})")
        if gang.get("message"):
            print(f"  {gang.get('message')}")


def _print_explanation(status: JsonObject) -> None:
    console = Console()
    for decision in entries(status.get("decisions"))[:5]:
        where = decision.get("nodeName") or decision.get("outcome")
        said = decision.get("message") or f"{decision.get('pods')} pod(s)"
        console.print(f"{decision.get('madeAt')}  {where}  {said}  (decision {decision['id']})")
    for title, key in (("when it was decided", "then"), ("now", "now")):
        told = child(status, key)
        if told:
            console.print(_table(title, entries(told.get("nodes"))))


def _table(title: str, nodes: list[JsonObject]) -> Table:
    table = Table(title=title)
    for column in ("node", "verdict", "scores or reasons"):
        table.add_column(column, overflow="fold")
    ranked = sorted(nodes, key=lambda n: -float(str(n.get("total", -1))))
    for node in ranked[:50]:
        good = bool(node.get("feasible"))
        verdict = f"fits, {node.get('total')}" if good else str(node.get("plugin"))
        table.add_row(
            str(node.get("name")), verdict, _scores(node) if good else _joined(node.get("reasons"))
        )
    if len(nodes) > 50:
        table.caption = f"{len(nodes) - 50} more; --json has all"
    return table


def _others(why: JsonObject) -> list[JsonObject]:
    return entries(why.get("others") or [])


def _scores(node: JsonObject) -> str:
    return ", ".join(f"{name} {score}" for name, score in child(node, "scores").items())


def _joined(value: Json) -> str:
    return "; ".join(str(each) for each in value) if isinstance(value, list) else ""
