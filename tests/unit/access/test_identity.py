import pytest

from scheduler.access.identity import account_name, account_of


def test_an_accounts_name_is_read_again() -> None:
    assert account_of(account_name("shop", "robot")) == ("shop", "robot")


@pytest.mark.parametrize(
    "name",
    [
        "jane",
        "system:serviceaccounts:shop",
        "system:serviceaccount:shop",
        "system:serviceaccount:shop:",
        "system:serviceaccount::robot",
        "system:serviceaccount:shop:robot:x",
    ],
)
def test_other_users_are_no_account(name: str) -> None:
    assert account_of(name) is None
