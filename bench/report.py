"""All parts, one after another, into one page and one plot: what `make bench` runs.

About 20 minutes on a quiet machine; --short, with fewer turns and sizes, takes five and is a check, not a result.

    make bench            # or: python bench/report.py --out docs/performance
    make bench BENCH=short
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

from measure import instruction_set

HERE = Path(__file__).resolve().parent
# Part -> heading, its options in full and in short.
PARTS: dict[str, tuple[str, str, str]] = {
    "startup": ("Start-up", "--rounds 7", "--rounds 2"),
    "sampling": ("Drawing", "--rounds 3", "--rounds 1 --seconds 0.4 --only image lstm"),
    "classifying": ("Classifying", "--rounds 3", "--rounds 1 --seconds 0.4"),
    "int8": (
        "Eight bits",
        "--rounds 3 --seconds 0.7",
        "--rounds 1 --seconds 0.3 --models mnist cluttered-mnist",
    ),
    "training": (
        "Training",
        "--rounds 2 --seconds 5",
        "--rounds 1 --seconds 1 --without '32-true --compile' bf16-mixed 'bf16-mixed --compile'",
    ),
    "growth": ("Growth", "--rounds 3", "--rounds 1 --seconds 0.1 --points 3 --axes T h"),
    "bulk": ("In bulk", "--pictures 100000", "--pictures 5000"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a check of a few minutes")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, help="a folder for figures.md and growth.png")
    arguments = parser.parse_args()
    out = arguments.out or Path("runs/bench")
    out.mkdir(parents=True, exist_ok=True)
    command = " ".join(["python bench/report.py", *sys.argv[1:]])
    page = ["# Figures\n", f"Measured with `{command}` on {instruction_set()}.\n"]
    page.append(
        "Cells: share of the floor through ONNX Runtime · of the floor through torch · times the speed of the peer"
        " (eager PyTorch unless it says otherwise). [How to read them](../performance.md).\n"
    )
    failed = []
    for part in arguments.parts:
        heading, *options = PARTS[part]
        start = time.monotonic()
        print(f"## {heading}\n", flush=True)
        text, code = run(part, options[arguments.short], out)
        failed += [part] if code else []
        page.append(f"## {heading}\n\n`python bench/{part}.py {options[arguments.short]}`: {text}")
        print(f"{part}: {time.monotonic() - start:.0f} s\n", file=sys.stderr, flush=True)
        if part == "growth" and (out / "growth.png").exists():
            page.append("![time of a picture by T, h and side](growth.png)\n")
        (out / "figures.md").write_text("\n".join(page), encoding="utf-8")
    print(f"wrote {out / 'figures.md'}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    sys.exit(1 if failed else 0)


def run(part: str, options: str, out: Path) -> tuple[str, int]:
    """What the part printed, line by line as it does, and its exit code."""
    words = [sys.executable, str(HERE / f"{part}.py"), *shlex.split(options)]
    words += ["--plot", str(out / "growth.png")] if part == "growth" else []
    lines = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if not line.startswith("plotted: "):
                lines.append(line)
    if process.returncode:
        lines.append(f"failed, exit code {process.returncode}\n")
    return "".join(lines), process.returncode


if __name__ == "__main__":
    main()
