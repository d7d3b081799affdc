// The public API of Gradus.
