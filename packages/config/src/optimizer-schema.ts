// Fields of AdamW that the SFT phase and the RL stages share; their defaults stand where they are used.
import { z } from "zod";

const beta = z.number().min(0).lt(1);

export const AdamW = {
  betas: z.tuple([beta, beta]).describe("Decay rates of AdamW's two moments."),
  epsilon: z.number().positive().describe("AdamW's epsilon."),
  weightDecay: z.number().min(0).describe("Decoupled weight decay; never on norms and biases."),
  maxGradNorm: z.number().positive().describe("The gradient's L2 norm is clipped to this."),
};
