"""A tool whose library is not installed."""

from __future__ import annotations

import pytest
from builtin_calls import Caller

from orchestrator.domain.errors import Conflict
from orchestrator.domain.tool import ToolStatus
from orchestrator.services.builtin_tools.images import analysis_offer
from orchestrator.services.builtin_tools.offer import absent


async def test_it_is_shown_and_says_what_to_install() -> None:
    tool = absent(analysis_offer(), "images")
    assert tool.tool.status is ToolStatus.DISABLED
    assert tool.tool.description is not None
    assert tool.tool.description.startswith("image-analysis is not available here: install orchestrator[images].")
    assert tool.tool.input_schema == analysis_offer().input_schema
    with pytest.raises(Conflict, match=r"install orchestrator\[images\]"):
        await Caller(tool)(path="a.png")
