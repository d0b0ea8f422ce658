/** What a paying process is told when it is started, and what it says while it runs. */
import { Schema } from "effect"

/** Where a process kills itself: before or after the n-th step of a kind, at once or a few milliseconds later. */
export const Point = Schema.Struct({
  step: Schema.Literals(["ledger", "sign", "present", "send", "body"]),
  nth: Schema.Int,
  afterMillis: Schema.Int
})
export type Point = typeof Point.Type

/** Ways to break the payer on purpose, so that the test can show that it notices. */
export const mutations = ["forgetful", "unclaiming", "hasty"] as const

export const Setup = Schema.Struct({
  ledger: Schema.Union([
    Schema.Struct({ filename: Schema.String }),
    Schema.Struct({ database: Schema.String })
  ]),
  agent: Schema.String,
  privateKey: Schema.String,
  credential: Schema.String,
  endpoint: Schema.String,
  mode: Schema.Literals(["pull", "push"]),
  tempo: Schema.Struct({ network: Schema.String, rpcUrl: Schema.String }),
  evm: Schema.Struct({ network: Schema.String, rpcUrl: Schema.String }),
  /** Whether it asks in the background what became of everything that is open. */
  sweep: Schema.Boolean,
  kill: Schema.NullOr(Point),
  mutation: Schema.NullOr(Schema.Literals(mutations))
})
export type Setup = typeof Setup.Type

/** A request to pay for. Whoever names it again means the same purchase. */
export const Order = Schema.Struct({ name: Schema.String, url: Schema.String })
export type Order = typeof Order.Type

/** One line of what a process says. */
export const Said = Schema.Union([
  Schema.TaggedStruct("Ready", {}),
  /** The last byte of the content has come. */
  Schema.TaggedStruct("Content", { name: Schema.String, content: Schema.String }),
  Schema.TaggedStruct("Failed", {
    name: Schema.String,
    reason: Schema.String,
    rule: Schema.String,
    money: Schema.String,
    message: Schema.String
  })
])
export type Said = typeof Said.Type

/** How the content of a request ends. */
export const lastWords = "that is all"
