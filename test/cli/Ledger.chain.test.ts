/** The command with a ledger that outlives its processes. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { readdirSync, statSync } from "node:fs"
import { join } from "node:path"
import { merchant, mpp, newHome, wallet } from "./executable.ts"

describe("the executable", () => {
  it.live("keeps its ledger in the user's state directory, closed to others", () =>
    Effect.gen(function*() {
      const { url } = yield* merchant
      const home = newHome()
      yield* mpp(["fetch", `${url}/paid`], { ...wallet, ...home })
      const directory = join(home.HOME, ".local/state/effect-mpp")
      assert.deepStrictEqual(readdirSync(directory), ["ledger.sqlite"])
      assert.strictEqual(statSync(directory).mode & 0o777, 0o700)
      assert.strictEqual(statSync(join(directory, "ledger.sqlite")).mode & 0o777, 0o600)
      const { payments } = JSON.parse((yield* mpp(["payments", "--json"], home)).stdout)
      assert.strictEqual(payments.length, 1)
      assert.deepInclude(payments[0], { origin: url, spentUsd: "0.01", state: "settled", delivery: "delivered" })
      const { budget } = JSON.parse((yield* mpp(["budget", "--json"], home)).stdout)
      assert.strictEqual(budget.spent, "0.01")
    }))

  it.live("sends the same payment again when it was killed while it waited for the answer", () =>
    Effect.gen(function*() {
      const { credentials, url } = yield* merchant
      const home = newHome()
      const killed = yield* mpp(
        ["fetch", `${url}/late`],
        { ...wallet, ...home },
        () => credentials.length > 0,
        "SIGKILL"
      )
      assert.deepStrictEqual([killed.status, killed.stdout], [null, ""])
      const again = yield* mpp(["fetch", `${url}/late`, "--json"], { ...wallet, ...home })
      const { body, budget, payment } = JSON.parse(again.stdout)
      assert.deepStrictEqual([again.status, body], [0, "late\n"], again.stderr)
      assert.deepInclude(payment, { state: "settled", delivered: true, amount: "0.01" })
      assert.strictEqual(budget.spent, "0.01")
      assert.strictEqual(credentials.length, 2)
      assert.strictEqual(credentials[1], credentials[0])
      const { payments } = JSON.parse((yield* mpp(["payments", "--json"], home)).stdout)
      assert.deepInclude(payments[0], { id: payment.id, resumes: 1, delivery: "delivered" })
      assert.strictEqual(payments.length, 1)
    }))

  it.live("exits with 5 when what was sent by a killed process can neither be found out nor be sent again", () =>
    Effect.gen(function*() {
      const { credentials, url } = yield* merchant
      const home = newHome()
      const post = ["fetch", `${url}/hang`, "-d", "once", "--json"]
      yield* mpp(post, { ...wallet, ...home }, () => credentials.length > 0, "SIGKILL")
      const again = yield* mpp(post, { ...wallet, ...home })
      const { budget, error } = JSON.parse(again.stdout)
      assert.deepStrictEqual([again.status, error._tag, error.money], [5, "PaymentUncertain", "unknown"])
      assert.deepStrictEqual([budget.spent, budget.exposed], ["0.00", "0.01"])
      assert.strictEqual(credentials.length, 1)
    }))

  it.live("shows what a killed process has left behind as nobody's work", () =>
    Effect.gen(function*() {
      const { credentials, url } = yield* merchant
      const home = newHome()
      yield* mpp(["fetch", `${url}/hang`], { ...wallet, ...home }, () => credentials.length > 0, "SIGKILL")
      const { payments } = JSON.parse((yield* mpp(["payments", "--json"], home)).stdout)
      assert.deepInclude(payments[0], { state: "unknown", delivery: "undelivered", heldUsd: "0.01" })
      const { budget } = JSON.parse((yield* mpp(["budget", "--json"], home)).stdout)
      assert.deepStrictEqual([budget.spent, budget.exposed], ["0.00", "0.01"])
      assert.strictEqual(credentials.length, 1)
    }))

  it.live(
    "says what a thing costs where there is no place for a ledger, and pays nothing there",
    () =>
      Effect.gen(function*() {
        const { credentials, url } = yield* merchant
        const homeless = { ...wallet, HOME: "" }
        for (const command of ["probe", "explain"]) {
          const asked = yield* mpp([command, `${url}/paid`, "--json"], homeless)
          assert.strictEqual(asked.status, 0, asked.stderr)
          assert.include(asked.stdout, "\"10000\"")
          assert.match(asked.stderr, /nothing can be paid without one: name it in MPP_LEDGER/)
        }
        const paid = yield* mpp(["fetch", `${url}/paid`, "--json"], homeless)
        assert.deepStrictEqual([paid.status, JSON.parse(paid.stdout).error._tag], [2, "Usage"])
        const elsewhere = yield* mpp(["probe", `${url}/paid`], { ...homeless, MPP_LEDGER: "mysql://127.0.0.1/ledger" })
        assert.strictEqual(elsewhere.status, 2)
        assert.deepStrictEqual(credentials, [])
      }),
    120_000
  )

  it.live("reports its own payment, not what another process pays at the same time", () =>
    Effect.gen(function*() {
      const { credentials, url } = yield* merchant
      const home = newHome()
      const hanging = yield* Effect.forkChild(
        mpp(["fetch", `${url}/hang`], { ...wallet, ...home }, () => credentials.length > 2)
      )
      while (credentials.length === 0) yield* Effect.sleep(20)
      const free = JSON.parse((yield* mpp(["fetch", `${url}/free`, "--json"], { ...wallet, ...home })).stdout)
      assert.deepStrictEqual([free.payment, free.budget.exposed], [null, "0.01"])
      const paid = JSON.parse((yield* mpp(["fetch", `${url}/paid`, "--json"], { ...wallet, ...home })).stdout)
      assert.deepInclude(paid.payment, { state: "settled", delivered: true })
      const open = JSON.parse((yield* mpp(["payments", "--delivery", "open", "--json"], home)).stdout)
      const refused = yield* mpp(["payments", "abandon", open.payments[0].id, "--yes"], home)
      assert.strictEqual(refused.status, 3)
      assert.include(refused.stderr, "Another process is at work on this payment")
      yield* mpp(["fetch", `${url}/paid`], { ...wallet, ...home })
      assert.strictEqual((yield* Fiber.join(hanging)).status, 5)
    }))

  it.live("signs nothing where its ledger cannot be written, and does not print the ledger's password", () =>
    Effect.gen(function*() {
      const { credentials, url } = yield* merchant
      for (const MPP_LEDGER of ["postgres://ada:hunter2@127.0.0.1:1/ledger", "/proc/ledger.sqlite"]) {
        const ran = yield* mpp(["fetch", `${url}/paid`, "--json"], { ...wallet, MPP_LEDGER })
        const { error } = JSON.parse(ran.stdout)
        assert.deepStrictEqual([ran.status, error._tag, error.money], [1, "LedgerUnavailable", "unspent"])
        assert.notInclude(ran.stdout + ran.stderr, "hunter2")
      }
      assert.deepStrictEqual(credentials, [])
    }))
})
