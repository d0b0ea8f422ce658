/**
 * Tempo charges of every kind, and whatever may happen to them: at merchants, on the chain, at its nodes, and to the process
 * that pays. No purchase is paid for twice, and in the end the books say what the payer has lost.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import * as Budget from "../../src/Budget.ts"
import * as Ledger from "../../src/Ledger.ts"
import { breaksOff, cuts, refusesConnection, withoutReceipt } from "./merchant.ts"
import type { TempoChain } from "./tempoChain.ts"
import { alreadyUsed, claims, demandsAgain, honest, refuses, replays, type Step, takes } from "./tempoMerchant.ts"
import * as World from "./tempoWorld.ts"

/** What the merchant does with one credential after the other. */
const steps = {
  honest,
  replays,
  cuts,
  "hangs for a minute": () => Effect.as(Effect.sleep("1 minute"), "cut"),
  refusesConnection,
  "takes, and cuts": takes(cuts),
  "takes, and demands again": takes(demandsAgain),
  "takes, and says nothing": takes(withoutReceipt(200)),
  "takes, and breaks off": takes(breaksOff),
  "takes, and claims another": takes(claims(`0x${"9".repeat(64)}`)),
  "takes, and says that it was used": takes(refuses("verification-failed", 402, alreadyUsed)),
  "says that it was used": refuses("verification-failed", 402, alreadyUsed),
  "says nothing": withoutReceipt(200),
  "demands more": ({ demand }) => demand({ request: { amount: "20000" } }),
  refuses: refuses("verification-failed"),
  "does not know its challenge": refuses("invalid-challenge"),
  "demands again": demandsAgain,
  fails: refuses("internal-payment-error", 500),
  unavailable: withoutReceipt(503)
} satisfies { readonly [name: string]: Step }

/** What chain and nodes do, until they are told otherwise. */
const manners: { readonly [name: string]: (chain: TempoChain) => void } = {
  honest: (chain) => {
    chain.lie = () => undefined
    chain.mines = true
    chain.reverts = false
  },
  "are down": (chain) => chain.lie = () => "down",
  hang: (chain) => chain.lie = () => "hangs",
  "see nothing": (chain) => chain.lie = ({ method }) => blind.get(method),
  "take without a word": (chain) =>
    chain.lie = ({ honest, method }) => {
      const answer = honest()
      return method === "eth_sendRawTransaction" ? { error: { code: -32603, message: "internal error" } } : answer
    },
  "make blocks without them": (chain) => void (chain.mines = false),
  "revert them": (chain) => void (chain.reverts = true)
}

/** It keeps no logs, so that it never proves that nothing was mined. */
const blind = new Map<string, { readonly result: unknown } | { readonly error: unknown }>([
  ["eth_getTransactionReceipt", { result: null }],
  ["eth_getTransactionByHash", { result: null }],
  ["eth_getLogs", { error: { code: -32000, message: "the logs are pruned" } }]
])

const names = <Names extends string>(all: { readonly [K in Names]: unknown }) =>
  Schema.Literals(Object.keys(all) as Array<Names>)

const Millis = Schema.Literals([0, 300, 2_000, 12_000])

/** What may happen to an agent, one after the other. */
const Event = Schema.Union([
  Schema.TaggedStruct("Get", { path: Schema.Literals(["a", "b"]) }),
  Schema.TaggedStruct("Post", {}),
  Schema.TaggedStruct("GetAtOnce", { copies: Schema.Literals([2, 4]) }),
  Schema.TaggedStruct("Interrupt", { afterMillis: Millis }),
  Schema.TaggedStruct("Crash", { afterMillis: Millis }),
  Schema.TaggedStruct("Nodes", { do: names(manners) }),
  Schema.TaggedStruct("Mine", {}),
  Schema.TaggedStruct("BroadcastWhatWasHeld", {}),
  Schema.TaggedStruct("Sweep", {}),
  Schema.TaggedStruct("Wait", { seconds: Schema.Literals([1, 20, 40, 300, 7_500]) })
])

type Event = typeof Event.Type

const limit = 300_000n

const fetch = (path: string) => Effect.ignore(World.fetch(`${World.origin}/${path}`))

const happen = Effect.fnUntraced(function*(world: World.World, event: Event, sponsors: boolean) {
  const { chain } = world
  switch (event._tag) {
    case "Get":
      return yield* World.patiently(fetch(event.path))
    case "Post":
      return yield* Effect.ignore(World.order())
    case "GetAtOnce": {
      const copies = Array.from({ length: event.copies }, () => fetch("b"))
      return yield* World.patiently(Effect.all(copies, { concurrency: "unbounded", discard: true }))
    }
    case "Interrupt": {
      const fiber = yield* Effect.forkChild(fetch("b"))
      yield* World.pass(event.afterMillis)
      return yield* World.patiently(Fiber.interrupt(fiber))
    }
    case "Crash": {
      yield* Effect.forkDetach(fetch("b"))
      yield* World.pass(event.afterMillis)
      return yield* world.renew
    }
    case "Nodes":
      return manners[event.do]!(chain)
    case "Mine":
      return chain.mine(yield* world.now)
    case "BroadcastWhatWasHeld": {
      const now = yield* world.now
      for (const transaction of world.transactions()) chain.submit(transaction, now, sponsors)
      return
    }
    case "Sweep":
      return yield* World.sweep
    case "Wait":
      return yield* World.pass(event.seconds * 1000)
  }
})

/** What holds at every moment. */
const invariants = Effect.fnUntraced(function*({ chain, takenFor }: World.World) {
  const ledger = yield* Ledger.Ledger
  const { exposed, spent } = yield* World.standing("agent:default", 365 * 86_400_000)
  const states = yield* World.states
  const counted = `${spent} are spent and ${exposed} exposed: ${states.join(", ")}`
  assert.isTrue(chain.taken <= spent + exposed, `${chain.taken} moved, and ${counted}`)
  const window = yield* World.standing()
  assert.isTrue(window.spent + window.exposed <= limit, "over the limit of the window")
  for (const { authorizations, purchase } of yield* ledger.purchases({})) {
    const possible = authorizations.filter(({ state }) => state !== "released")
    assert.isAtMost(possible.length, 1, `two authorisations of ${purchase.id} could be taken`)
    const { transactions, usd } = takenFor(authorizations)
    assert.isAtMost(transactions, 1, "a purchase was paid for twice")
    assert.isTrue(usd <= purchase.approvedUsd, "more than approved")
    for (const authorization of authorizations) {
      const taken = takenFor([authorization]).usd
      const usd = authorization.spentUsd + authorization.exposedUsd
      assert.isTrue(taken <= usd, `${taken} moved for an authorisation that counts ${usd}`)
    }
  }
})

const Kind = Schema.Literals(["pull", "push", "sponsored"])

describe("a Tempo charge", () => {
  it.effect.prop(
    "is paid for once, and counted for what it took, whatever happens",
    {
      events: Schema.Array(Event).check(Schema.isMinLength(1), Schema.isMaxLength(10)),
      paid: Schema.Array(names(steps)).check(Schema.isMaxLength(12)),
      kind: Kind,
      computesIds: Schema.Boolean
    },
    ({ computesIds, events, kind, paid }) =>
      World.hostile(
        {
          rail: { mode: kind === "push" ? "push" : "pull" },
          sponsors: kind === "sponsored",
          computesIds,
          paid: [...paid.map((name) => steps[name]), honest],
          budget: Budget.make({ limit, window: "1 hour" })
        },
        Effect.fnUntraced(function*(world) {
          for (const event of events) {
            yield* world.here(happen(world, event, kind === "sponsored"))
            yield* invariants(world)
          }
        })
      ),
    { arbitrary: { runs: 120 }, timeout: 120_000 }
  )
})
