"""What the loop needs of each stage: batches, loss, score."""
