"""The two things that the checks of manifests need beside Python: a Go, and the schemas."""

import pytest

from tests.kubernetes.schemas import SCHEMAS
from tests.lacking import lacking, program


@pytest.fixture(scope="session", autouse=True)
def _needed() -> None:
    program("go")
    if not SCHEMAS.is_dir():
        lacking("no schemas of Kubernetes to check the manifests against: run `make kubernetes`")
