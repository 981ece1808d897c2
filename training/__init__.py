"""Train and evaluate the six networks; see training.run and training.evaluation.evaluate."""
