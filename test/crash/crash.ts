/** Kills paying processes as often as is wanted, at points that a seed chooses, and looks for contradictions afterwards. */
import { Effect, Redacted } from "effect"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { generatePrivateKey } from "viem/accounts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import { addressOf, audit, wealth } from "./audit.ts"
import * as Lanes from "./lanes.ts"
import type { Setup } from "./protocol.ts"
import { credentials, Shops } from "./shops.ts"

/** How many processes are killed: `MPP_CRASH_KILLS`, or 50. CI kills 300. */
export const kills = Number(process.env["MPP_CRASH_KILLS"] ?? 50)

/** `MPP_CRASH_SEED`, or another one each time. */
export const seed = Number(process.env["MPP_CRASH_SEED"] ?? randomBytes(3).readUIntBE(0, 3))

/** As many requests are made at one origin: one that does not deliver three of them is not paid any more. */
const perOrigin = 6

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "crash-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** Two ledgers in files of SQLite. */
export const files = Effect.map(
  directory,
  (path) => ["one", "other"].map((name) => ({ filename: join(path, name, "ledger.sqlite") }))
)

const payerOf = Effect.fnUntraced(function*(at: number, ledger: Setup["ledger"], mutation: Setup["mutation"]) {
  const [tempo, evm, shops] = [yield* Tempo.TempoChain, yield* Evm.EvmChain, yield* Shops]
  let used = 0
  let origin = Promise.resolve("")
  const payer: Lanes.Payer = {
    setup: {
      ledger,
      agent: `payer-${at}`,
      privateKey: generatePrivateKey(),
      credential: Redacted.value(credentials[at]!),
      endpoint: shops.endpoint,
      tempo: { network: tempo.network, rpcUrl: tempo.rpcUrl },
      evm: { network: evm.network, rpcUrl: evm.rpcUrl },
      mutation
    },
    asked: [],
    waiting: [],
    origin: () => {
      if (used++ % perOrigin === 0) origin = Effect.runPromise(shops.open)
      return origin
    }
  }
  yield* tempo.fund(addressOf(payer), wealth)
  yield* evm.mint(addressOf(payer), wealth)
  return payer
})

/** The whole of it; what it answers are the contradictions that it found. */
export const crash = Effect.fnUntraced(function*(options: {
  readonly name: string
  readonly kills: number
  readonly ledgers: ReadonlyArray<Setup["ledger"]>
  readonly mutation?: Setup["mutation"]
}) {
  const { ledgers, mutation = null, name } = options
  const say = (line: string) => writeSync(2, `crash test, ${name}: ${line}\n`)
  const path = yield* directory
  const script = yield* Effect.promise(() => Lanes.bundle(path))
  const payers = yield* Effect.forEach(ledgers, (ledger, at) => payerOf(at, ledger, mutation))
  say(`seed ${seed}, ${options.kills} kills; to repeat it, set MPP_CRASH_SEED and MPP_CRASH_KILLS to these`)
  const killed = yield* Effect.promise(() =>
    Lanes.run(payers, {
      script,
      cache: join(path, "cache"),
      kills: options.kills,
      random: Lanes.randomOf(seed),
      processes: 3,
      say
    })
  )
  const { ends, problems } = yield* audit(payers)
  const found = problems.length === 0 ? "no contradiction" : `${problems.length} contradictions`
  say(`${killed} killed, requests ended ${JSON.stringify(ends)}: ${found}`)
  if (problems.length > 0 && mutation === null) {
    say(`repeat it with MPP_CRASH_SEED=${seed} MPP_CRASH_KILLS=${options.kills}`)
    for (const problem of problems.slice(0, 20)) say(problem)
  }
  return { killed, ends, problems }
})
