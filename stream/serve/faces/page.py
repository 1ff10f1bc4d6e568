"""`/docs`: a page for people, made from `/openapi.json`. It has no script; FastAPI's usual page loads a script from another site."""

import json
from html import escape
from typing import Any

STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; background: #fff; }
h2 { border-top: 1px solid #ccc; padding-top: 1rem; font-size: 1.1rem; }
code, pre { font-family: ui-monospace, monospace; }
pre { background: #f3f3f3; padding: 0.8rem; overflow-x: auto; }
td { padding: 0.1rem 1rem 0.1rem 0; vertical-align: top; }
"""


def document(schema: dict[str, Any]) -> str:
    """Return the HTML page of an OpenAPI document."""
    about = schema["info"]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f'<title>{escape(about["title"])}</title><link rel="stylesheet" href="/docs.css"></head><body>',
        f'<h1>{escape(about["title"])}</h1><p>{escape(about["description"])} <a href="/openapi.json">OpenAPI</a></p>',
    ]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            parts.append(_operation(path, method.upper(), operation))
    return "".join([*parts, "</body></html>\n"])


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    heading = f"<h2><code>{method} {escape(path)}</code></h2><p>{escape(operation['summary'])}. {escape(operation.get('description', ''))}</p>"
    parameters = "".join(
        f"<tr><td><code>{escape(one['name'])}</code></td><td>{escape(one.get('description', one['in']))}</td></tr>"
        for one in operation.get("parameters", ())
    )
    given = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    asked = (
        ""
        if given is None
        else f"<pre>curl http://127.0.0.1:8091{escape(path)} -d '{escape(json.dumps(given, indent=2))}'</pre>"
    )
    answers = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(answer['description'])}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    shown = operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("example")
    example = "" if shown is None else f"<pre>{escape(json.dumps(shown, indent=2))}</pre>"
    return f"{heading}<table>{parameters}</table>{asked}<table>{answers}</table>{example}"
