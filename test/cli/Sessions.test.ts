import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as AgentTest from "../../src/testing/AgentTest.ts"
import { authorize, close, drawing, live, origin } from "../ledger.ts"
import { json, mpp, same } from "./harness.ts"

const agents = same(AgentTest.layer({ merchant: [] }))

const withSessions = Effect.gen(function*() {
  const all = yield* agents
  yield* Effect.gen(function*() {
    yield* live("ended", 50_000n)
    yield* close("ended", 20_000n)
    yield* live("running", 100_000n)
    yield* authorize(drawing("d", "running", 10_000n))
  }).pipe(Effect.provide(all()))
  return all
})

describe("mpp sessions", () => {
  it.effect("says in a sentence that there is none", () =>
    Effect.gen(function*() {
      const all = yield* agents
      const words = (flags: ReadonlyArray<string>) =>
        Effect.map(mpp(all, ["sessions", ...flags]), ({ status, stdout }) => [status, stdout] as const)
      assert.deepStrictEqual(yield* words([]), [
        0,
        "No session is open. `mpp sessions --all` lists those that have ended.\n"
      ])
      assert.match((yield* words(["--all"]))[1], /^There was no session yet\./)
      assert.match((yield* words(["--origin", origin]))[1], /^There is no open session with this merchant/)
      assert.deepStrictEqual(json(yield* mpp(all, ["sessions", "--json"])), { sessions: [] })
    }))

  it.effect("lists what is open, and with --all what has ended", () =>
    Effect.gen(function*() {
      const all = yield* withSessions
      const ran = yield* mpp(all, ["sessions"])
      assert.deepStrictEqual(
        ran.stdout.trimEnd().split("\n").map((line) => line.replaceAll(/ {2,}/g, "  ")),
        [
          "SESSION  MERCHANT  RAIL  STATE  LIMIT  SPENT  IN FLIGHT  ENDS (UTC)",
          `running  ${origin}  test  live  $0.10  $0.00  $0.01  1970-01-01 01:00:00`
        ]
      )
      const { sessions } = json(yield* mpp(all, ["sessions", "--all", "--json"]))
      assert.deepStrictEqual(sessions, [
        {
          id: "running",
          origin,
          rail: "test",
          state: "live",
          limitUsd: "0.10",
          spentUsd: "0.00",
          reservedUsd: "0.01",
          expiresAt: "1970-01-01T01:00:00.000Z",
          authorization: "open-running"
        },
        {
          id: "ended",
          origin,
          rail: "test",
          state: "closed",
          limitUsd: "0.05",
          spentUsd: "0.02",
          reservedUsd: "0.00",
          expiresAt: "1970-01-01T01:00:00.000Z",
          authorization: "open-ended"
        }
      ])
      const others = yield* mpp(all, ["sessions", "--origin", "https://other.test", "--all", "--json"])
      assert.deepStrictEqual(json(others), { sessions: [] })
    }))
})
