#!/usr/bin/env bash
# The GPU bundle's one command: ./run.sh [--part NAME] [--out FILE]. Needs python3 (GRADUS_PYTHON names another), with PyTorch for the
# peers; everything else lies beside it, and nothing is written there. See run.py.
set -euo pipefail
exec env PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 "${GRADUS_PYTHON:-python3}" "$(dirname "$(readlink -f "$0")")/run.py" "$@"
