// The public names of @gradus/data.
