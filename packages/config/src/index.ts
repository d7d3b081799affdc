// The public names of @gradus/config.
