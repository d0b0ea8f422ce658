import * as Effect from "effect/Effect"
import type * as Chain from "../../src/Chain.ts"

const unused = Effect.die("not asked for here")

/** A node of which nothing is asked, but what a test gives it. */
export const nodeWith = (given: Partial<Chain.Node> & Pick<Chain.Node, "network">): Chain.Node => ({
  block: () => unused,
  call: () => unused,
  code: () => unused,
  logs: () => unused,
  receiptLogs: () => unused,
  receipt: () => unused,
  limits: () => unused,
  estimateGas: () => unused,
  send: () => unused,
  ...given
})
