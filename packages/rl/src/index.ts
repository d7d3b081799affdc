// The public names of @gradus/rl.
