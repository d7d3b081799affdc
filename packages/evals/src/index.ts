// The public names of @gradus/evals.
