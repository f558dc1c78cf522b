#!/usr/bin/env bash
# Trains the three stages of the shipped weights, one after the other or, on a GPU, side by side.
#
#   docs/train.sh PACK OUT MINUTES [DEVICE]
#
# PACK comes from `vmus dataset pack`; OUT gets a folder a stage (state, losses, weights); run again, it goes on
# where it stopped. MINUTES is the budget of each stage. DEVICE: cpu (default) or cuda.
set -euo pipefail
pack=$1 out=$2 minutes=$3 device=${4:-cpu}
# glibc gives big buffers back to the system and asks for them again at every step otherwise
export MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=8589934592
train() { vmus train "$1" --pack "$pack" -o "$out/$1" --minutes "$minutes" --device "$device"; }
if [ "$device" = cuda ]; then
  train chord & train melody & train accompaniment & wait
else
  # one thread a stage: two processes on two cores do twice the work of one process on both
  export OMP_NUM_THREADS=1
  train accompaniment & { train chord; train melody; } & wait
fi
