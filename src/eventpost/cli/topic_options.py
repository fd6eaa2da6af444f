"""What the commands of topics and of domains share: schema and mapping."""

from eventpost.cli.parser import Parser

SCHEMAS = ("eventgridschema", "cloudeventschemav1_0", "customeventschema")


def add_schema(parser: Parser, *, mapped: str) -> None:
    """`mapped` names what may stand in an event of a custom schema."""
    parser.add_argument(
        "--input-schema",
        choices=SCHEMAS,
        type=str.lower,
        default=SCHEMAS[0],
        help=f"schema of its events (default: {SCHEMAS[0]})",
    )
    parser.add_argument(
        "--input-mapping-fields",
        nargs="*",
        default=[],
        metavar="NAME=PATH",
        help=f"of customeventschema: where {mapped} stand",
    )
    parser.add_argument(
        "--input-mapping-default-values",
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="of customeventschema: eventtype, subject, dataversion where nothing stands",
    )


def mapping(given: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in given.items()]
