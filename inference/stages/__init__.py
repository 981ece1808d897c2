"""The six stages, one file and one public function each."""
