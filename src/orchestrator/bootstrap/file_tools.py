"""Puts together the built-in tools for files and media."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from importlib.util import find_spec

from orchestrator.adapters.files import FileTree
from orchestrator.bootstrap.tool_parts import Surroundings
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.tool import Tool
from orchestrator.ports.tool_runner import BuiltinTool
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.builtin_tools.archive import Archive
from orchestrator.services.builtin_tools.feedback import FeedbackCollection
from orchestrator.services.builtin_tools.filesystem import Filesystem, FilesystemRead
from orchestrator.services.builtin_tools.images import ImageAnalysis, ImageProcessing, analysis_offer, processing_offer
from orchestrator.services.builtin_tools.material import Material
from orchestrator.services.builtin_tools.notes import Memory
from orchestrator.services.builtin_tools.offer import absent
from orchestrator.services.builtin_tools.pdf import PdfCompiler, pdf_offer
from orchestrator.services.builtin_tools.people import ApprovalGate, UserPrompt
from orchestrator.services.builtin_tools.report import ReportGenerator
from orchestrator.services.builtin_tools.template import Template
from orchestrator.services.builtin_tools.visualization import Visualization, visualization_offer

ARCHIVES = "orchestrator.adapters.files.archives"
DRAW = "orchestrator.adapters.matplotlib.drawing:draw"
COMPILE = "orchestrator.adapters.fpdf.document:compile_markdown"
RENDER = "orchestrator.adapters.jinja.rendering:render"
ANALYSE = "orchestrator.adapters.pillow.analysis:analyse"
PROCESS = "orchestrator.adapters.pillow.processing:process"


@dataclass(frozen=True, slots=True)
class FileTools:
    tools: Sequence[BuiltinTool]
    files: FileTree

    async def start(self, stack: AsyncExitStack) -> None:
        """Removes what an earlier process left unfinished."""
        with suppress(OrchestratorError):  # a folder that cannot be used: the calls will say so
            await self.files.sweep()


def build_file_tools(around: Surroundings) -> FileTools:
    """The folder is made when it is first needed."""
    settings = around.settings
    root = settings.tools.root or settings.data_dir / "files"
    files = FileTree(root, settings.tools.max_file)
    material = Material(files, around.artifacts, around.keyring.known)
    apart = Apart(around.processes)
    tools: list[BuiltinTool] = [
        Filesystem(files),
        FilesystemRead(files),
        ApprovalGate(),
        UserPrompt(around.schemas, around.clock.wall),
        FeedbackCollection(material),
        Memory(around.storage.notes, around.clock.wall),
        Archive(material, apart, ARCHIVES, str(root.absolute()), settings.tools.max_file),
        Template(files, apart, RENDER),
        ReportGenerator(material),
        _with("fpdf", "pdf", pdf_offer, lambda: PdfCompiler(material, apart, COMPILE)),
        _with("PIL", "images", analysis_offer, lambda: ImageAnalysis(material, apart, ANALYSE)),
        _with("PIL", "images", processing_offer, lambda: ImageProcessing(material, apart, PROCESS)),
        _with("matplotlib", "charts", visualization_offer, lambda: Visualization(material, apart, DRAW)),
    ]
    return FileTools(tools, files)


def _with(module: str, extra: str, offer: Callable[[], Tool], tool: Callable[[], BuiltinTool]) -> BuiltinTool:
    """The tool, or what says which extra it lacks. Looks for the module without loading it."""
    return tool() if find_spec(module) is not None else absent(offer(), extra)
