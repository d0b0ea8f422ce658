import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Logger, Option, Result } from "effect"
import { TestClock } from "effect/testing"
import { copyFileSync } from "node:fs"
import { join } from "node:path"
import * as Asset from "../src/Asset.ts"
import * as Budget from "../src/Budget.ts"
import * as Foreign from "../src/Foreign.ts"
import * as Ledger from "../src/Ledger.ts"
import type { Account, Since } from "../src/Movement.ts"
import { ChainError, LedgerUnavailable } from "../src/PaymentError.ts"
import * as Rails from "../src/Rails.ts"
import * as LedgerSql from "../src/sql/LedgerSql.ts"
import { charge, foreign, hour, judge } from "./ledger.ts"
import { directory, layerSqlite } from "./sql/temporary.ts"

const asset = new Asset.Asset({
  network: "eip155:1337",
  address: "0xaa",
  symbol: "TEST",
  decimals: 6,
  usd: true,
  testnet: true
})

interface Paid {
  readonly name: string
  readonly block: number
  readonly units?: bigint
  readonly fee?: bigint
  readonly payee?: string
  readonly mark?: string
  /** In hours. */
  readonly at?: number
}

/** A chain on which others pay as well; `down` if it does not answer. */
const chain = () => {
  const world = { paid: [] as Array<Paid>, final: 10, latest: 10, down: false, asked: [] as Array<Since | undefined> }
  const account = (options: Partial<Account> = {}): Account => ({
    name: "test/account",
    network: asset.network,
    asset,
    payer: "0x1",
    hasUniqueMarks: true,
    moved: (since) =>
      Effect.suspend(() => {
        world.asked.push(since)
        if (world.down) {
          return Effect.fail(new ChainError({ network: asset.network, operation: "logs", detail: "no answer" }))
        }
        const movements = since === undefined
          ? []
          : world.paid.filter(({ at = 0, block }) => typeof since === "bigint" ? block > since : at * hour >= since.at)
        return Effect.succeed({
          movements: movements.map(({ at = 0, block, fee = 0n, mark, name, payee = "0x2", units = 100n }) => ({
            reference: name,
            transaction: `0x${name}`,
            marks: [mark ?? name],
            isFinal: block <= world.final,
            details: Effect.succeed({ units, fee, payee, at: at * hour })
          })),
          until: BigInt(world.final),
          isComplete: true
        })
      }),
    ...options
  })
  const rail = (name: string, accounts: ReadonlyArray<Account>): Rails.Rail => ({
    name,
    payer: "0x1",
    steps: 1,
    repeats: true,
    session: Option.none(),
    accounts,
    accepts: () => Result.fail({ why: "not asked" }),
    plan: () => Effect.die("not asked"),
    sign: () => Effect.die("not asked"),
    judge: () => ({ _tag: "Void", evidence: new Rails.Evidence({ rank: "proven", what: "not asked" }) }),
    reconcile: () => Effect.die("not asked")
  })
  return { world, account, rail }
}

/** What is logged as a warning. */
const warnings = () => {
  const all: Array<string> = []
  const layer = Logger.layer([
    Logger.make(({ logLevel, message }) => void (logLevel === "Warn" && all.push([message].flat().join(" "))))
  ])
  return { all, layer }
}

const foreignOver = (
  ledger: Layer.Layer<Ledger.Ledger>,
  rails: ReadonlyArray<Rails.Rail>
) =>
  Foreign.layer({ agent: "a" }).pipe(
    Layer.provideMerge(Layer.effectDiscard(Effect.forEach(rails, (rail) => Rails.Rails.use((all) => all.add(rail))))),
    Layer.provideMerge(Layer.mergeAll(ledger, Rails.Rails.layer, Budget.layer(Budget.longRunning)))
  )

const compare = Foreign.Foreign.use(({ compare }) => compare)
const recall = (units: bigint, payee = "0x2") =>
  Foreign.Foreign.use(({ recall }) => recall([{ asset, payer: "0x1", payee, units }])).pipe(
    Effect.map(Option.map(({ reference }) => reference)),
    Effect.map(Option.getOrUndefined)
  )
const spent = (counter = "agent:a", windowMillis = 24 * hour) =>
  Effect.map(Ledger.Ledger.use((ledger) => ledger.standing(counter, windowMillis)), ({ spent }) => spent)
const noted = Effect.map(
  Ledger.Ledger.use((ledger) => ledger.foreigns({})),
  (all) => all.map(({ reference }) => reference).toSorted()
)

const marked = (id: string, mark: string): Ledger.Draft => {
  const draft = charge(id, 100n)
  const { authorization } = draft
  return {
    ...draft,
    authorization: new Ledger.Authorization({ ...authorization, plan: new Rails.Plan({ ...authorization.plan, mark }) })
  }
}
const authorize = (draft: Ledger.Draft) => Ledger.Ledger.use((ledger) => ledger.authorize(draft))

for (const [name, ledger] of [["memory", Ledger.layerMemory({ quiet: true })], ["SQLite", layerSqlite]] as const) {
  describe(`Foreign, with a ledger in ${name}`, () => {
    it.effect("counts what others paid since the wallet was first used, once, in the wallet's day and the agent's window", () =>
      Effect.gen(function*() {
        const { account, rail, world } = chain()
        const { all, layer } = warnings()
        world.paid.push({ name: "before", block: 9 })
        yield* Effect.gen(function*() {
          yield* compare
          assert.deepStrictEqual([yield* noted, yield* spent()], [[], 0n])
          world.paid.push({ name: "one", block: 11, units: 30n, fee: 2n }, { name: "two", block: 12, units: 5n })
          world.final = world.latest = 12
          for (let sweep = 0; sweep < 3; sweep++) yield* compare
          assert.deepStrictEqual(yield* noted, ["one", "two"])
          assert.deepStrictEqual([yield* spent(), yield* spent("wallet:0x1")], [37n, 37n])
          assert.strictEqual(all.length, 1)
          assert.include(all[0], "2 payments of $0.000037 in all left 0x1 on eip155:1337")
          assert.deepStrictEqual(world.asked, [undefined, 10n, 12n, 12n])
        }).pipe(
          Effect.provide(foreignOver(ledger, [rail("one", [account()]), rail("other", [account()])])),
          Effect.provide(layer)
        )
      }))

    it.effect("does not count what is not final, and counts it when it is", () =>
      Effect.gen(function*() {
        const { account, rail, world } = chain()
        yield* Effect.gen(function*() {
          yield* compare
          world.paid.push({ name: "one", block: 11 })
          yield* compare
          assert.deepStrictEqual(yield* noted, [])
          world.final = 11
          yield* compare
          assert.deepStrictEqual([yield* noted, yield* spent()], [["one"], 100n])
        }).pipe(Effect.provide(foreignOver(ledger, [rail("one", [account()])])))
      }))

    it.effect("counts it at the time at which it was paid", () =>
      Effect.gen(function*() {
        const { account, rail, world } = chain()
        yield* Effect.gen(function*() {
          yield* compare
          yield* TestClock.adjust("30 hours")
          yield* authorize(charge("own", 7n))
          yield* judge("own", "settled", "claimed")
          world.paid.push({ name: "late", block: 11, at: 27.5, units: 20n }, { name: "old", block: 11, at: 2 })
          world.final = 11
          yield* compare
          assert.deepStrictEqual(
            [yield* spent("agent:a", hour), yield* spent("agent:a", 3 * hour), yield* spent("agent:a", 48 * hour)],
            [7n, 27n, 127n]
          )
          yield* TestClock.adjust("1 hour")
          assert.strictEqual(yield* spent("agent:a", 3 * hour), 7n)
        }).pipe(Effect.provide(foreignOver(ledger, [rail("one", [account()])])))
      }))

    it.effect("knows what this ledger signed, unless it counts as returned", () =>
      Effect.gen(function*() {
        const { account, rail, world } = chain()
        yield* Effect.gen(function*() {
          yield* compare
          yield* authorize(marked("open", "open"))
          yield* authorize(marked("settled", "settled"))
          yield* judge("settled", "settled", "claimed")
          yield* authorize(marked("returned", "returned"))
          yield* judge("returned", "released", "proven")
          world.paid.push(
            ...["open", "settled", "returned"].map((mark) => ({ name: `paid ${mark}`, mark, block: 11 }))
          )
          world.final = 11
          yield* compare
          assert.deepStrictEqual(yield* noted, ["paid returned"])
        }).pipe(Effect.provide(foreignOver(ledger, [rail("one", [account()])])))
      }))

    it.effect("takes one authorisation for one payment, where several look alike", () =>
      Effect.gen(function*() {
        const { account, rail, world } = chain()
        yield* Effect.gen(function*() {
          yield* compare
          yield* authorize(marked("a", "same"))
          yield* authorize(marked("b", "same"))
          yield* Ledger.Ledger.use((ledger) =>
            ledger.judged("b", {
              state: "settled",
              spentUsd: 100n,
              evidence: new Rails.Evidence({ rank: "proven", what: "transfer", reference: "0xthird" })
            })
          )
          for (const name of ["first", "second", "third"]) world.paid.push({ name, mark: "same", block: 11 })
          world.final = 11
          yield* compare
          assert.deepStrictEqual(yield* noted, ["second"])
        }).pipe(Effect.provide(foreignOver(ledger, [rail("one", [account({ hasUniqueMarks: false })])])))
      }))

    it.effect("goes on where it was when the chain did not answer, or a rail was defective", () =>
      Effect.gen(function*() {
        const { account, rail, world } = chain()
        const broken = account({ name: "broken", moved: () => Effect.die("defect") })
        yield* Effect.gen(function*() {
          yield* compare
          world.paid.push({ name: "one", block: 11 })
          world.final = 11
          world.down = true
          yield* compare
          assert.deepStrictEqual(yield* noted, [])
          world.down = false
          yield* compare
          assert.deepStrictEqual([yield* noted, yield* spent()], [["one"], 100n])
        }).pipe(Effect.provide(foreignOver(ledger, [rail("one", [broken, account()])])))
      }))

    it.effect("goes on from one go to the next, each of which is kept when a later one fails", () =>
      Effect.gen(function*() {
        const { account, rail } = chain()
        const asked: Array<Since | undefined> = []
        let isUp = false
        const moved: Account["moved"] = (since) =>
          Effect.suspend(() => {
            asked.push(since)
            const from = typeof since === "bigint" ? since : 10n
            return from >= 12n && !isUp
              ? Effect.fail(new ChainError({ network: asset.network, operation: "logs", detail: "no answer" }))
              : Effect.succeed({
                movements: [],
                until: from === 14n || since === undefined ? from : from + 1n,
                isComplete: from === 14n || since === undefined
              })
          })
        yield* Effect.gen(function*() {
          yield* compare
          yield* compare
          isUp = true
          yield* compare
          assert.deepStrictEqual(asked, [undefined, 10n, 11n, 12n, 12n, 13n, 14n])
        }).pipe(Effect.provide(foreignOver(ledger, [rail("one", [account({ moved })])])))
      }))

    it.effect("looks again where a chain turns out to be shorter than it was said to be", () =>
      Effect.gen(function*() {
        const { account, rail, world } = chain()
        const asked: Array<Since | undefined> = []
        const heights = [1n << 200n, 10n, 12n]
        const moved: Account["moved"] = (since) => {
          const latest = heights[Math.min(asked.push(since), heights.length) - 1]!
          return typeof since === "bigint" && latest < since
            ? Effect.succeed({ movements: [], until: latest, isComplete: false })
            : Effect.map(account().moved(since), (it) => ({ ...it, until: latest }))
        }
        yield* Effect.gen(function*() {
          yield* compare
          world.paid.push({ name: "one", block: 11 })
          world.final = 11
          yield* compare
          yield* compare
          assert.deepStrictEqual(asked, [undefined, 1n << 200n, 10n])
          assert.deepStrictEqual(yield* noted, ["one"])
        }).pipe(Effect.provide(foreignOver(ledger, [rail("one", [account({ moved })])])))
      }))

    it.effect("stays readable, whatever figures a node invents", () =>
      Effect.gen(function*() {
        const { account, rail, world } = chain()
        yield* Effect.gen(function*() {
          yield* compare
          for (let at = 0; at < 12; at++) {
            world.paid.push({ name: `much ${at}`, block: 11, units: 2n ** 256n - 1n })
          }
          world.final = 11
          yield* compare
          assert.isTrue((yield* spent()) > 10n ** 18n)
          world.paid.push({ name: "more", block: 12, units: 2n ** 300n, fee: 1n })
          world.final = 12
          yield* compare
          assert.strictEqual((yield* noted).length, 13)
          yield* authorize(charge("own", 7n))
        }).pipe(Effect.provide(foreignOver(ledger, [rail("one", [account()])])))
      }))

    it.effect("tells it page by page, the newest first", () =>
      Effect.gen(function*() {
        const ledger = yield* Ledger.Ledger
        for (const [at, reference] of ["a", "b", "c"].entries()) {
          yield* ledger.foreign(foreign(reference, { notedAt: at >> 1, maybeForgotten: at === 0 }))
        }
        const page = (after?: string) =>
          Effect.map(ledger.foreigns({ limit: 2, after }), (all) => all.map(({ reference }) => reference))
        assert.deepStrictEqual([yield* page(), yield* page("b"), yield* page("a")], [["c", "b"], ["a"], []])
        assert.deepStrictEqual((yield* ledger.foreigns({ maybeForgotten: true })).map(({ reference }) => reference), [
          "a"
        ])
      }).pipe(Effect.provide(ledger)))

    it.effect("does not suspect what others paid while it was there", () =>
      Effect.gen(function*() {
        const { account, rail, world } = chain()
        yield* Effect.gen(function*() {
          yield* compare
          yield* TestClock.adjust("1 hour")
          world.paid.push({ name: "other", block: 11, at: 1 })
          world.final = 11
          yield* compare
          assert.deepStrictEqual([yield* noted, yield* recall(100n)], [["other"], undefined])
        }).pipe(Effect.provide(foreignOver(ledger, [rail("one", [account()])])))
      }))
  })
}

describe("Foreign, with a ledger that was put back or copied", () => {
  const at = (filename: string) => LedgerSql.layerSqlite({ filename, lease: "400 days" }).pipe(Layer.orDie, Layer.fresh)

  /** The ledger of a wallet that has paid once, an hour after the beginning, closed in order. */
  const used = Effect.fnUntraced(function*(filename: string, rail: Rails.Rail) {
    yield* Effect.gen(function*() {
      yield* compare
      yield* TestClock.adjust("1 hour")
      yield* authorize(marked("own", "own"))
    }).pipe(Effect.provide(foreignOver(at(filename), [rail])))
  })

  const about = Ledger.Ledger.use((ledger) => ledger.about)

  it.effect("has another generation in another file, and the same one where it was moved to", () =>
    Effect.gen(function*() {
      const folder = yield* directory
      const [original, copy] = [join(folder, "a", "ledger"), join(folder, "b", "ledger")]
      const { all, layer } = warnings()
      const read = (filename: string) => Effect.provide(about, at(filename)).pipe(Effect.provide(layer))
      const first = yield* read(original)
      assert.deepInclude(first, { generation: 1, durable: true, authorizedAt: 0 })
      assert.match(first.id, /^[0-9a-f]{32}$/)
      assert.deepStrictEqual(yield* read(original), first)
      yield* read(copy)
      copyFileSync(original, `${copy}-new`)
      assert.deepStrictEqual(all, [])
      assert.deepStrictEqual(yield* read(`${copy}-new`), { ...first, generation: 2 })
      assert.include(all[0], `The ledger ${first.id} was copied or restored (generation 2)`)
      assert.deepStrictEqual(yield* read(`${copy}-new`), { ...first, generation: 2 })
      assert.strictEqual(all.length, 1)
      assert.deepStrictEqual(yield* read(original), first)
    }))

  it.effect("stops the next purchase that equals a forgotten payment, once, and no other one", () =>
    Effect.gen(function*() {
      const folder = yield* directory
      const { account, rail, world } = chain()
      const one = rail("one", [account()])
      yield* used(join(folder, "ledger"), one)
      world.paid.push(
        { name: "early", block: 11, at: 0.5, units: 50n },
        { name: "own", block: 12, at: 1 },
        { name: "forgotten", block: 13, at: 2 },
        { name: "older", block: 13, at: 2, units: 51n },
        { name: "recent", block: 14, at: 2, units: 77n }
      )
      world.final = 13
      yield* TestClock.adjust("2 hours")
      yield* Effect.gen(function*() {
        assert.strictEqual(yield* recall(100n), undefined, "nobody knows yet")
        yield* compare
        assert.deepStrictEqual(yield* noted, ["early", "forgotten", "older"])
        assert.strictEqual(yield* recall(100n, "0x3"), undefined)
        assert.strictEqual(yield* recall(99n), undefined)
        assert.strictEqual(yield* recall(50n), undefined, "the ledger was there")
        assert.strictEqual(yield* recall(100n), "forgotten")
        assert.strictEqual(yield* recall(100n), undefined)
        assert.strictEqual(yield* recall(77n), "recent", "also while it is not final")
        yield* compare
        assert.strictEqual(yield* recall(100n), undefined)
        assert.strictEqual(yield* recall(77n), undefined)
      }).pipe(Effect.provide(foreignOver(at(join(folder, "ledger")), [one])))
      world.final = 14
      yield* Effect.gen(function*() {
        yield* compare
        assert.strictEqual(yield* recall(100n), undefined, "told by another process before")
        assert.strictEqual(yield* recall(77n), undefined, "and before it was final")
        yield* TestClock.adjust("24 hours")
        assert.strictEqual(yield* recall(51n), undefined, "a day later nobody means the same")
      }).pipe(Effect.provide(foreignOver(at(join(folder, "ledger")), [one])))
    }))

  it.effect("stops an equal purchase also when that cannot be written down", () =>
    Effect.gen(function*() {
      const folder = yield* directory
      const { account, rail, world } = chain()
      const one = rail("one", [account()])
      yield* used(join(folder, "ledger"), one)
      world.paid.push({ name: "forgotten", block: 13, at: 2 })
      world.final = 13
      yield* TestClock.adjust("2 hours")
      const readOnly = Layer.effect(
        Ledger.Ledger,
        Effect.map(Ledger.Ledger, (ledger) =>
          Ledger.Ledger.of({
            ...ledger,
            recalled: () => Effect.fail(new LedgerUnavailable({ operation: "recalled", detail: "the disk is full" }))
          }))
      )
      const file = at(join(folder, "ledger"))
      yield* Effect.gen(function*() {
        yield* compare
        assert.strictEqual(yield* recall(100n), "forgotten")
        assert.strictEqual(yield* recall(100n), undefined)
      }).pipe(Effect.provide(foreignOver(Layer.provide(readOnly, file), [one])))
      yield* Effect.gen(function*() {
        yield* compare
        assert.strictEqual(yield* recall(100n), "forgotten", "nobody knows that it was told")
      }).pipe(Effect.provide(foreignOver(file, [one])))
    }))

  /** The rule by which nothing is signed for an account, with what it says. */
  const objection = Effect.fnUntraced(function*(payer = "0x1") {
    const objections = yield* Foreign.Foreign.use(({ objections }) => objections)
    return Option.getOrUndefined(Option.map(objections({ asset, payer }), ({ detail, rule }) => `${rule}: ${detail}`))
  })

  it.effect("signs nothing on a chain that nobody can ask about, and says what to do", () =>
    Effect.gen(function*() {
      const folder = yield* directory
      const { rail } = chain()
      const [file, copy] = [join(folder, "ledger"), join(folder, "ledger-copy")]
      const alone = rail("one", [])
      yield* used(file, alone)
      copyFileSync(file, copy)
      yield* Effect.gen(function*() {
        assert.strictEqual(yield* objection(), undefined)
      }).pipe(Effect.provide(foreignOver(at(file), [alone])))
      yield* Effect.gen(function*() {
        assert.match((yield* objection()) ?? "", /^ledger-copied: .*Set MPP_RPC_1337, or begin with a new ledger/)
        assert.strictEqual(yield* objection("0x9"), undefined)
      }).pipe(Effect.provide(foreignOver(at(copy), [alone])))
    }))

  it.effect("is no reason to ask where the original had not signed yet and was compared with no chain", () =>
    Effect.gen(function*() {
      const folder = yield* directory
      const { rail } = chain()
      const [file, copy] = [join(folder, "ledger"), join(folder, "ledger-copy")]
      yield* Effect.provide(compare, foreignOver(at(file), [rail("one", [])]))
      copyFileSync(file, copy)
      yield* Effect.gen(function*() {
        assert.strictEqual(yield* objection(), undefined)
      }).pipe(Effect.provide(foreignOver(at(copy), [rail("one", [])])))
    }))

  it.effect("is suspected of what the original has signed since, though the copy is one of an empty ledger", () =>
    Effect.gen(function*() {
      const folder = yield* directory
      const { account, rail, world } = chain()
      const one = rail("one", [account()])
      const [file, copy] = [join(folder, "ledger"), join(folder, "ledger-copy")]
      yield* Effect.provide(compare, foreignOver(at(file), [one]))
      copyFileSync(file, copy)
      world.paid.push({ name: "forgotten", block: 11, at: 1 })
      world.final = 11
      yield* TestClock.adjust("2 hours")
      yield* Effect.gen(function*() {
        assert.strictEqual(yield* objection(), undefined)
        assert.strictEqual(yield* recall(100n), "forgotten")
      }).pipe(Effect.provide(foreignOver(at(copy), [one])))
    }))

  it.effect("is compared from when it signed last, where it never was before", () =>
    Effect.gen(function*() {
      const folder = yield* directory
      const { account, rail, world } = chain()
      const [file, copy] = [join(folder, "ledger"), join(folder, "ledger-copy")]
      yield* used(file, rail("one", []))
      copyFileSync(file, copy)
      world.paid.push({ name: "long ago", block: 11, at: 0.5 }, { name: "forgotten", block: 11, at: 1.5 })
      world.final = 11
      world.down = true
      yield* TestClock.adjust("1 hour")
      yield* Effect.gen(function*() {
        assert.match((yield* objection()) ?? "", /^ledger-copied: .*`mpp reconcile --watch`/)
        world.down = false
        assert.strictEqual(yield* objection(), undefined)
        assert.deepStrictEqual(yield* noted, ["forgotten"])
        assert.strictEqual(yield* recall(100n), "forgotten")
      }).pipe(Effect.provide(foreignOver(at(copy), [rail("one", [account()])])))
      yield* Effect.gen(function*() {
        assert.strictEqual(yield* objection(), undefined)
        assert.strictEqual(world.asked.at(-1), 11n)
      }).pipe(Effect.provide(foreignOver(at(copy), [rail("one", [account()])])))
    }))

  it.effect("does not take a node that is behind for the chain", () =>
    Effect.gen(function*() {
      const folder = yield* directory
      const { account, rail, world } = chain()
      const [file, copy] = [join(folder, "ledger"), join(folder, "ledger-copy")]
      yield* used(file, rail("one", [account()]))
      copyFileSync(file, copy)
      let latest = 5n
      const behind = account({
        moved: (since) =>
          typeof since === "bigint" && latest < since
            ? Effect.succeed({ movements: [], until: latest, isComplete: false })
            : account().moved(since)
      })
      yield* Effect.gen(function*() {
        for (let time = 0; time < 3; time++) assert.match((yield* objection()) ?? "", /^ledger-copied/)
        latest = 20n
        assert.strictEqual(yield* objection(), undefined)
        assert.strictEqual(world.asked.at(-1), 10n)
      }).pipe(Effect.provide(foreignOver(at(copy), [rail("one", [behind])])))
    }))

  it.effect("is not taken for the original because it could not be read at first", () =>
    Effect.gen(function*() {
      const folder = yield* directory
      const { account, rail, world } = chain()
      const one = rail("one", [account()])
      const [file, copy] = [join(folder, "ledger"), join(folder, "ledger-copy")]
      yield* used(file, one)
      copyFileSync(file, copy)
      let isLocked = true
      const locked = Layer.effect(
        Ledger.Ledger,
        Effect.map(Ledger.Ledger, (ledger) =>
          Ledger.Ledger.of({
            ...ledger,
            about: Effect.suspend(() =>
              isLocked ? Effect.fail(new LedgerUnavailable({ operation: "about", detail: "locked" })) : ledger.about
            )
          }))
      )
      world.down = true
      yield* Effect.gen(function*() {
        assert.match((yield* objection()) ?? "", /^ledger-copied: the ledger cannot be read/)
        isLocked = false
        assert.match((yield* objection()) ?? "", /has not answered yet/)
        world.down = false
        assert.strictEqual(yield* objection(), undefined)
      }).pipe(Effect.provide(foreignOver(Layer.provide(locked, at(copy)), [one])))
    }))

  it.effect("waits a moment for the chain before it pays, where it may have forgotten something", () =>
    Effect.gen(function*() {
      const folder = yield* directory
      const { account, rail, world } = chain()
      const one = rail("one", [account({ moved: (since) => Effect.delay(account().moved(since), "1 second") })])
      yield* used(join(folder, "ledger"), rail("one", [account()]))
      world.paid.push({ name: "forgotten", block: 13, at: 1.5 })
      world.final = 13
      yield* TestClock.adjust("1 hour")
      yield* Effect.gen(function*() {
        const paying = yield* Effect.forkChild(Effect.andThen(objection(), recall(100n)))
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(yield* Fiber.join(paying), "forgotten")
      }).pipe(Effect.provide(foreignOver(at(join(folder, "ledger")), [one])))
    }))

  it.effect("signs nothing on a chain before the copy was compared with it", () =>
    Effect.gen(function*() {
      const folder = yield* directory
      const { account, rail, world } = chain()
      const one = rail("one", [account()])
      yield* used(join(folder, "ledger"), one)
      copyFileSync(join(folder, "ledger"), join(folder, "ledger-copy"))
      world.down = true
      yield* Effect.gen(function*() {
        assert.match((yield* objection()) ?? "", /^ledger-copied/)
        assert.strictEqual(yield* objection("0x9"), undefined)
        world.down = false
        world.paid.push({ name: "forgotten", block: 11, at: 1 })
        assert.strictEqual(yield* objection(), undefined)
        assert.strictEqual(yield* recall(100n), "forgotten")
        world.down = true
        assert.strictEqual(yield* objection(), undefined)
      }).pipe(Effect.provide(foreignOver(at(join(folder, "ledger-copy")), [one])))
      yield* Effect.gen(function*() {
        assert.strictEqual(yield* objection(), undefined)
      }).pipe(Effect.provide(foreignOver(at(join(folder, "ledger-copy")), [one])))
    }))
})
