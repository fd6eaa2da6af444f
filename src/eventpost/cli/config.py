"""`eventpost config`: the settings that hold here and now, and where each came from."""

import argparse

from eventpost.cli import output, settings_options
from eventpost.cli.parser import EXIT_DONE, Commands, as_json, command


def add(group: Commands) -> None:
    parser = command(
        group,
        "config",
        show,
        summary="print the effective settings, their origins, secrets masked",
        parents=[settings_options.options(), as_json()],
    )
    parser.add_argument(
        "--changed", action="store_true", help="only what differs from the defaults"
    )


def show(arguments: argparse.Namespace) -> int:
    from eventpost.config.inventory import DEFAULT, settings

    file = settings_options.config_file(arguments)
    effective = settings_options.effective(arguments, file)
    rows = [
        (setting, effective.shown(setting), effective.origins[setting.name])
        for setting in settings().values()
        if not arguments.changed or effective.origins[setting.name] != DEFAULT
    ]
    if arguments.json:
        output.json(
            {
                setting.name: {
                    "value": value,
                    "origin": origin,
                    "default": setting.default,
                    "variable": setting.variable,
                    "description": setting.description,
                }
                for setting, value, origin in rows
            }
        )
    else:
        output.table(
            ("setting", "value", "origin"),
            [(setting.name, value, origin) for setting, value, origin in rows],
            empty="Every setting has its default.",
        )
    return EXIT_DONE
