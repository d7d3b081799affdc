// The public names of @gradus/store.
