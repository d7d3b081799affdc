// The public names of @gradus/rewards.
