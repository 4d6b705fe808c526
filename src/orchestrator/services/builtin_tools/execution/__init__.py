"""Commands and programs that a caller writes."""

from orchestrator.services.builtin_tools.execution.terminal import PythonExecutor, Terminal

__all__ = ["PythonExecutor", "Terminal"]
