"""What a bundle is worth: stages and the whole cascade judged on labelled pictures."""
