"""What the job of a round is asked to train on."""

WORKERS = 2  # The first is chief.
SERVERS = 2
BATCH_SIZE = 32
BATCHES = 300  # Of one worker, in one pass over its data.
PASSES = 2
SAVE_STEPS = 100
CHECKPOINTS_KEPT = 3
INCREMENTS = 2  # Few, so that old checkpoints are removed several times.

STEPS = WORKERS * BATCHES * PASSES
EXAMPLES = STEPS * BATCH_SIZE
