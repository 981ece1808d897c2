"""The program: settings, command line, the steps of a case, wiring of the service."""
