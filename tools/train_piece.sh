#!/usr/bin/env bash
# One piece of a long training on a machine that is lent for minutes: go on where the last piece stopped, stop in time.
#
#   tools/train_piece.sh RUN_FOLDER SECONDS [draw-train options of a fresh run]
#   tools/train_piece.sh runs/mnist 540 --preset mnist-paper --device cuda --cuda-graph
#
# draw-train answers SIGTERM by finishing the step and saving, so the next piece loses nothing.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2; }
folder=$1 seconds=$2
shift 2

machine=() fresh=()
while [ $# -gt 0 ]; do
  case $1 in
    --device | --devices | --threads | --data-dir) machine+=("$1" "$2") && fresh+=("$1" "$2") && shift 2 ;;
    --device=* | --devices=* | --threads=* | --data-dir=* | --cuda-graph | --compile | --no-compile)
      machine+=("$1") && fresh+=("$1") && shift ;;
    *) fresh+=("$1") && shift ;;
  esac
done
if [ -f "$folder/last.ckpt" ]; then
  options=(--resume "${machine[@]}")
else
  options=("${fresh[@]}")
fi
code=0
timeout --signal=TERM --kill-after=60 "$seconds" draw-train --out "$folder" "${options[@]}" || code=$?
# 124: the time was up, and the checkpoint is saved.
[ "$code" -eq 124 ] || [ "$code" -eq 143 ] || exit "$code"
