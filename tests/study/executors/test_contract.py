from collections.abc import Iterator
from typing import Any

import pytest

from prunemark.study.executors import EXECUTORS, MakeExecutor
from tests.study.executors.contract import Contract, ProcessContract


class TestInline(Contract):
    has_processes = False

    @pytest.fixture
    def executor(self, inline: str) -> tuple[str, dict[str, Any]]:
        return inline, {}

    @pytest.fixture
    def make(self, inline: str) -> MakeExecutor:
        return EXECUTORS[inline].load()


class TestLocal(ProcessContract):
    @pytest.fixture
    def executor(self) -> tuple[str, dict[str, Any]]:
        return "local", {}

    @pytest.fixture
    def make(self) -> Iterator[MakeExecutor]:
        made: list[Any] = []

        def local(*arguments: Any) -> Any:
            made.append(EXECUTORS["local"].load()(*arguments))
            return made[-1]

        yield local
        for crew in made:
            crew.close()
