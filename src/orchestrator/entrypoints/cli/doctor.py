"""`orchestrator doctor`."""

from __future__ import annotations

from pathlib import Path

from orchestrator.domain.errors import ConfigurationError
from orchestrator.entrypoints.cli import checks, output
from orchestrator.entrypoints.cli.checks import Finding, Verdict
from orchestrator.entrypoints.cli.failure import FAILED
from orchestrator.entrypoints.cli.options import PLAIN, Format
from orchestrator.entrypoints.cli.runtime import Given, Runtime
from orchestrator.entrypoints.cli.warnings import operator_warnings
from orchestrator.settings import check_exposure, load


def doctor(*, config: Path | None = None, form: Format = PLAIN, runtime: Given) -> int | None:
    """Check that the service can run here, and say what to do where it cannot. Changes nothing.

    Examples: `orchestrator doctor`, `orchestrator doctor --config orchestrator.yaml --json`

    Exit status 1 when a check fails; warnings do not count.

    Parameters
    ----------
    config
        Configuration file; otherwise the one that `orchestrator start` would find.
    """
    findings = examine(config, runtime)
    if form.json:
        output.print_json({"ok": not failed(findings), "checks": [finding.facts() for finding in findings]})
    else:
        rows = [(one.verdict.value, one.check, one.text, one.hint) for one in findings]
        output.print_table(("", "check", "found", "what to do"), rows)
    return FAILED if failed(findings) else None


def failed(findings: list[Finding]) -> bool:
    return any(finding.verdict is Verdict.FAIL for finding in findings)


def examine(config: Path | None, runtime: Runtime) -> list[Finding]:
    """Every check. Those that need settings are left out when there are none."""
    findings = [checks.python(), checks.open_files()]
    try:
        loaded = load(config)
    except ConfigurationError as error:
        return [*findings, Finding(Verdict.FAIL, "configuration", error.message, "Correct it and look again.")]
    settings = loaded.settings
    findings.append(Finding(Verdict.OK, "configuration", str(loaded.file or "defaults, no file")))
    findings += [Finding(Verdict.WARN, "configuration", text) for text in operator_warnings(loaded)]
    try:
        check_exposure(settings)
        text = "on" if settings.auth.enabled else "off; only this machine can reach the service"
        findings.append(Finding(Verdict.OK, "authentication", text))
    except ConfigurationError as error:
        findings.append(Finding(Verdict.FAIL, "authentication", error.message))
    findings += [
        checks.data_folder(settings),
        checks.disk(settings),
        checks.database(settings, runtime.look_at_storage),
        *checks.listeners(settings),
        *checks.nodes(settings),
        *checks.embedded(settings),
    ]
    return findings
