"""
Plays Label Studio with its own SDK: validates a project and its tasks, answers those that wait, and exports the project.

It runs in the environment of `make label-studio`, whose pins clash with ours: `python round_trip.py CONFIG TASKS OUT CHOICE`.
It prints what Label Studio's own short form makes of the export, a JSON array.
"""

import importlib
import json
import sys
import tempfile
from pathlib import Path

ANNOTATED_AT = "2024-01-02T03:04:05.678901Z"


def main(config: str, tasks_file: str, out: str, choice: str) -> None:
    """Validate, answer with `choice`, export."""
    # By name: the SDK is no dependency of this project, and the file can be loaded without it.
    make_converter = importlib.import_module("label_studio_sdk.converter").Converter
    make_interface = importlib.import_module("label_studio_sdk.label_interface").LabelInterface

    written = Path(config).read_text(encoding="utf-8")
    project = make_interface(written)
    project.validate()
    tasks = json.loads(Path(tasks_file).read_text(encoding="utf-8"))
    for number, task in enumerate(tasks, start=1):
        if not all(task["data"].get(shown.value_name) for shown in project.objects):
            sys.exit(f"a field that the configuration shows is missing in the data of task {number}")
        for made in (*task["predictions"], *task["annotations"]):
            wrong = project.validate_prediction({"model_version": "", "score": 0.0, **made}, return_errors=True)
            if wrong:
                sys.exit(f"a prediction or an annotation is refused: {wrong}")
        task["id"] = number
        if not task["annotations"]:
            regions = [json.loads(region.to_json()) for region in project.create_regions({"tag": choice})]
            task["annotations"] = [
                {
                    "id": number,
                    "completed_by": {"id": 7, "email": "lea@example.com"},
                    "result": regions,
                    "was_cancelled": False,
                    "created_at": ANNOTATED_AT,
                    "updated_at": ANNOTATED_AT,
                }
            ]
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "project.json"
        exported.write_text(json.dumps(tasks), encoding="utf-8")
        converter = make_converter(written, folder)
        converter.convert(str(exported), f"{folder}/json", "JSON", is_dir=False)
        converter.convert(str(exported), f"{folder}/short", "JSON_MIN", is_dir=False)
        [made] = (Path(folder) / "json").glob("*.json")
        Path(out).write_bytes(made.read_bytes())
        [short] = (Path(folder) / "short").glob("*.json")
        sys.stdout.write(short.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(*sys.argv[1:])
