"""A ClusterRole may have its rules of others."""

from scheduler.objects.stored import Body, ObjectKey
from scheduler.store.operations import Replace

ROLES = "clusterroles.rbac.authorization.k8s.io"
EDIT, VIEW = {"to-edit": "true"}, {"to-view": "true"}


def rule(*resources):
    return {"verbs": ["get"], "apiGroups": [""], "resources": list(resources)}


def choosing(*labels):
    return {"clusterRoleSelectors": [{"matchLabels": each} for each in labels]}


async def role(cluster, name, *rules, labels=None, aggregation=None):
    body = {"rules": list(rules), **({"aggregationRule": aggregation} if aggregation else {})}
    return await cluster.create(ROLES, name, body=body, labels=labels or {})


async def until_rules(cluster, name, *rules):
    async def as_wanted():
        return (await cluster.document(ObjectKey(ROLES, "", name)))["rules"] == list(rules)

    await cluster.until(as_wanted, ROLES)


async def relabel(cluster, key, labels):
    stored = await cluster.store.get(key)
    meta = type(stored.meta)(name=stored.meta.name, uid=stored.meta.uid, labels=labels)
    await cluster.store.write(Replace(ROLES, meta, stored.body, b"", stored.revision))


async def test_rules_come_and_go_with_the_roles_that_are_chosen(cluster):
    await role(cluster, "edit", aggregation=choosing(EDIT))
    first = await role(cluster, "b", rule("pods"), rule("secrets"), labels=EDIT)
    await role(cluster, "other", rule("nodes"), labels=VIEW)
    second = await role(cluster, "a", rule("services"), rule("pods"), labels=EDIT)
    await until_rules(cluster, "edit", rule("services"), rule("pods"), rule("secrets"))
    await relabel(cluster, second.key, {})
    await until_rules(cluster, "edit", rule("pods"), rule("secrets"))
    await cluster.store.write(
        Replace(ROLES, first.meta, Body(b'{"rules":[]}'), b"", first.revision)
    )
    await until_rules(cluster, "edit")
    await relabel(cluster, second.key, EDIT)
    await until_rules(cluster, "edit", rule("services"), rule("pods"))
    await cluster.delete(second.key)
    await until_rules(cluster, "edit")
    kept = await cluster.document(ObjectKey(ROLES, "", "edit"))
    assert kept["aggregationRule"] == choosing(EDIT)


async def test_roles_made_of_others_are_chosen_by_others_in_turn(cluster):
    await role(cluster, "admin", aggregation=choosing(EDIT))
    await role(cluster, "edit", aggregation=choosing(VIEW), labels=EDIT)
    await role(cluster, "view", {"verbs": ["get"], "nonResourceURLs": ["/x"]}, labels=VIEW)
    await until_rules(cluster, "admin", {"verbs": ["get"], "nonResourceURLs": ["/x"]})


async def test_one_of_several_selectors_is_enough(cluster):
    await role(cluster, "b", rule("pods"), labels=EDIT)
    await role(cluster, "a", rule("nodes"), labels={**VIEW, **EDIT})
    await role(cluster, "both", aggregation=choosing(EDIT, VIEW))
    await until_rules(cluster, "both", rule("nodes"), rule("pods"))


async def test_a_selector_without_a_value_finds_roles_too(cluster):
    await role(cluster, "a", rule("pods"), labels={"to-edit": "perhaps"})
    await role(cluster, "none", rule("nodes"))
    exists = {"key": "to-edit", "operator": "Exists"}
    aggregation = {"clusterRoleSelectors": [{"matchExpressions": [exists]}]}
    await role(cluster, "edit", aggregation=aggregation, labels=EDIT)
    await until_rules(cluster, "edit", rule("pods"))


async def test_rules_that_somebody_writes_are_put_right(cluster):
    await role(cluster, "a", rule("pods"), labels=EDIT)
    await role(cluster, "own", rule("secrets"))
    await role(cluster, "edit", rule("secrets"), aggregation=choosing(EDIT))
    await until_rules(cluster, "edit", rule("pods"))
    await until_rules(cluster, "own", rule("secrets"))
