#!/usr/bin/env bash
# The GPU bundle's one command: ./run.sh [--part NAME] [--out FILE]. Needs python3; everything else lies beside it. See run.py.
set -euo pipefail
exec env PYTHONUNBUFFERED=1 python3 "$(dirname "$(readlink -f "$0")")/run.py" "$@"
