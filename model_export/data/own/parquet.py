"""Records of a Parquet file. pyarrow comes with the extra `batch`, and is imported where it is used."""

import importlib.util
from pathlib import Path

from model_export import extras
from model_export.data.own.rows import OwnDataError
from model_export.data.own.tables import Table, as_text, refuse


def of_parquet(path: Path) -> Table:
    """
    The records of a Parquet file; the place of a record is its number, from 1.

    Raises:
        OwnDataError: pyarrow is not installed, the file is no Parquet, or a value is neither text nor a whole number.
    """
    if importlib.util.find_spec("pyarrow") is None:
        msg = f"{path} is Parquet, which needs pyarrow. Next: {extras.install('batch')}, or give CSV or JSON Lines."
        raise OwnDataError(msg)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        msg = f"{path} cannot be read as Parquet ({error}). Next: give a Parquet file that exists and is whole."
        raise OwnDataError(msg) from error
    records, faults = [], []
    for number, record in enumerate(table.to_pylist(), start=1):
        try:
            records.append((number, as_text(record)))
        except ValueError as error:
            faults.append((number, str(error)))
    refuse(str(path), faults, "row")
    return Table(columns=tuple(table.column_names), records=records, unit="row")
