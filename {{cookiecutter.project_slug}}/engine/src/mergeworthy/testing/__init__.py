"""What a project's own tests and checks use of the engine."""
