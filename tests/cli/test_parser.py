"""The command line as it is typed: usage, suggestions, help, completion."""

import argparse
from collections.abc import Iterator

import pytest

from eventpost import __version__
from eventpost.cli.main import MODULES, build_parser, main
from eventpost.cli.parser import EXIT_USAGE
from eventpost.cli.subscription_options import changes, declaration


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    groups = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for child in group.choices.values():
            yield from leaves(child)


def usage_error(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == EXIT_USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [
        (["topc", "list"], "`topic`"),
        (["topic", "lst"], "`list`"),
        (["topic", "key", "lits", "x"], "`list`"),
        (["topic", "create", "x", "--input-shema", "y"], "`--input-schema`"),
        (["topic", "create", "x", "--input-schema", "eventgrid"], "`eventgridschema`"),
        (["serve", "--lisen", "x"], "`--listen`"),
        (["subscription", "create", "x", "--topic", "y", "--endpont=z"], "`--endpoint`"),
        (["completion", "bsh"], "`bash`"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str], words: list[str], suggestion: str
) -> None:
    """A misspelt command, option or value ends with exit code 2 and what was probably meant."""
    error = usage_error(capsys, *words)

    assert error.startswith("UsageError ")
    assert f"did you mean {suggestion}?" in error


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["topic"],
        ["topic", "create"],
        ["subscription", "create", "x"],
        ["topic", "list", "extra"],
        ["topic", "list", "--js"],  # abbreviations are not taken: scripts must not depend on them
        ["subscription", "rewind", "x"],
    ],
)
def test_what_is_missing_or_too_much_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """A command given wrongly ends with exit code 2 and says how help is had."""
    error = usage_error(capsys, *words)

    assert "  fix: " in error


def test_every_command_describes_itself_and_its_arguments() -> None:
    """Each command and each of its arguments has a description."""
    for parser in leaves(build_parser()):
        assert parser.description, parser.prog
        for action in parser._actions:
            assert action.help, f"{parser.prog} {action.dest}"


def test_every_command_that_prints_data_can_print_json() -> None:
    """Only commands that do something without data to tell lack `--json`."""
    without = {
        parser.prog.removeprefix("eventpost ")
        for parser in leaves(build_parser())
        if "--json" not in {option for each in parser._actions for option in each.option_strings}
    }

    deletes = {"topic delete", "domain delete", "domain topic delete"}
    assert without == {"serve", "demo", "completion", *deletes}


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the version of the package and ends with 0."""
    with pytest.raises(SystemExit) as caught:
        main(["--version"])

    assert caught.value.code == 0
    assert capsys.readouterr().out == f"eventpost {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_the_commands(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    """The completion script of each shell names commands and options."""
    assert main(["completion", shell]) == 0

    script = capsys.readouterr().out
    for word in ("deadletter", "regenerate", "advanced-filter"):
        assert word in script


def declared(*words: str) -> dict[str, object]:
    arguments = build_parser().parse_args(
        ["subscription", "create", "blues", "--topic", "songs", *words]
    )
    return declaration(arguments)


def test_options_that_are_not_given_declare_nothing() -> None:
    """What is not asked for is left to the server's defaults."""
    assert declared() == {}


def test_options_become_the_declaration_of_the_api() -> None:
    """Each option lands in the field of the API that bears its name."""
    made = declared(
        *("--endpoint", "https://a.example", "--subject-begins-with", "genre/"),
        *("--included-event-types", "A", "B", "--max-delivery-attempts", "2"),
        *("--event-ttl", "1", "--retry-schedule", "1s,2s", "--deadletter-endpoint", "folder:/x"),
        *("--event-delivery-schema", "cloudeventschemav1_0", "--max-events-per-batch", "10"),
        *("--preferred-batch-size-in-kilobytes", "32", "--start", "earliest"),
        *("--concurrency", "5", "--rate", "50/s", "--signing-secret", "env:A"),
        *("--signing-secret", "env:B", "--subject-case-sensitive", "--insecure"),
        *("--enable-advanced-filtering-on-arrays", "false", "--final-statuses", "400", "410"),
        *("--azure-active-directory-tenant-id", "contoso.example"),
        *("--azure-active-directory-application-id-or-uri", "api://station"),
    )

    assert made == {
        "endpoint": "https://a.example",
        "filter": {
            "subjectBeginsWith": "genre/",
            "includedEventTypes": ["A", "B"],
            "subjectCaseSensitive": True,
            "enableAdvancedFilteringOnArrays": False,
        },
        "retry": {
            "maxDeliveryAttempts": 2,
            "eventTtl": "1",
            "schedule": "1s,2s",
            "finalStatuses": [400, 410],
        },
        "deadletter": "folder:/x",
        "eventDeliverySchema": "cloudeventschemav1_0",
        "maxEventsPerBatch": 10,
        "preferredBatchSizeInKilobytes": 32,
        "concurrency": 5,
        "rate": "50/s",
        "signingSecrets": ["env:A", "env:B"],
        "tlsInsecure": True,
        "azureActiveDirectoryTenantId": "contoso.example",
        "azureActiveDirectoryApplicationIdOrUri": "api://station",
        "start": "earliest",
    }


def test_advanced_filters_take_several_words_or_one_quoted_string() -> None:
    """A filter may be typed as `az` does or quoted, operators in any case, ranges as pairs."""
    made = declared(
        *("--advanced-filter", "data.age", "numberinrange", "5,9", "20,30"),
        *("--advanced-filter", 'data.name StringIn "Bessie Smith" Ma'),
        *("--advanced-filter", "data.x", "IsNullOrUndefined"),
    )

    assert made["filter"] == {
        "advancedFilters": [
            {"key": "data.age", "operatorType": "NumberInRange", "values": [[5, 9], [20, 30]]},
            {"key": "data.name", "operatorType": "StringIn", "values": ["Bessie Smith", "Ma"]},
            {"key": "data.x", "operatorType": "IsNullOrUndefined"},
        ]
    }


def test_delivery_attributes_are_static_secret_or_dynamic() -> None:
    """The three forms of a delivery property are read as `az` writes them."""
    made = declared(
        *("--delivery-attribute-mapping", "x-a", "static", "1"),
        *("--delivery-attribute-mapping", "x-b", "Static", "hush", "true"),
        *("--delivery-attribute-mapping", "x-c", "dynamic", "data.key"),
    )

    assert made["deliveryAttributeMappings"] == [
        {"name": "x-a", "type": "static", "value": "1"},
        {"name": "x-b", "type": "static", "value": "hush", "isSecret": True},
        {"name": "x-c", "type": "dynamic", "sourceField": "data.key"},
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["--delivery-attribute-mapping", "x-a", "static"],
        ["--delivery-attribute-mapping", "x-a", "fixed", "hush"],
        ["--advanced-filter", "data.x"],
        ["--advanced-filter", "data.x", "Equals", "1"],
    ],
)
def test_words_that_make_no_filter_or_property_are_refused(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """Half a filter or property is exit code 2, before any server is asked; no value is shown."""
    code = main(["subscription", "create", "blues", "--topic", "songs", *words])

    captured = capsys.readouterr()
    assert code == EXIT_USAGE
    assert "  fix: " in captured.err
    assert "hush" not in captured.err


def test_an_empty_value_takes_a_field_back_to_its_default() -> None:
    """`update` sends null for what is given empty, and nothing for what is not given."""
    arguments = build_parser().parse_args(
        [
            *("subscription", "update", "blues", "--deadletter-endpoint", "", "--advanced-filter"),
            *("--included-event-types", "--subject-ends-with", ".jpg"),
        ]
    )

    assert changes(arguments) == {
        "deadletter": None,
        "filter": {"advancedFilters": None, "includedEventTypes": None, "subjectEndsWith": ".jpg"},
    }


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    [group] = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    return group.choices


def test_a_command_alone_is_what_it_is_among_all() -> None:
    """Only the command that is asked for is built, and it is the same as in the whole."""
    whole = commands(build_parser())

    assert [word for words in MODULES.values() for word in words] == list(whole)
    for words in MODULES.values():
        for word in words:
            alone = commands(build_parser(word))
            assert list(alone) == list(words)
            assert alone[word].format_help() == whole[word].format_help()


def test_a_word_that_is_no_command_is_held_against_all(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no command is told with the command that was probably meant."""
    assert "`explain`" in usage_error(capsys, "explian", "EP2004")
