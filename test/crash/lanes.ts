/**
 * Starts processes that pay, kills them, starts others that go on, until as many were killed as is wanted and every request
 * has come to its end.
 */
import { Schema } from "effect"
import { build, type Plugin } from "esbuild"
import { type ChildProcessByStdio, spawn } from "node:child_process"
import { dirname, join } from "node:path"
import { createInterface } from "node:readline"
import type { Readable, Writable } from "node:stream"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import type { Order, Point } from "./protocol.ts"
import { Said, Setup } from "./protocol.ts"
import { type Counter, counters } from "./shops.ts"

// ---------------------------------------------------------------------------------------------------------------------
// Requests
// ---------------------------------------------------------------------------------------------------------------------

/**
 * How a request ended for its caller, whoever was killed meanwhile: with its content; with the word that it is paid for and not
 * delivered; with nothing spent; or with the word that nobody knows.
 */
export type End = "content" | "paid" | "unspent" | "uncertain"

export interface Asked {
  readonly nth: number
  readonly counter: Counter
  readonly order: Order
  end: End | undefined
  /** When it was begun last. */
  since: number
  /** How often it was begun, and what came of it each time. */
  readonly story: Array<string>
}

/** What pays out of one ledger: an account on both chains, one at the session endpoint, and those that wait to be served. */
export interface Payer {
  readonly setup: Omit<Setup, "kill" | "mode" | "sweep">
  readonly asked: Array<Asked>
  readonly waiting: Array<Asked>
  readonly origin: () => Promise<string>
}

/** The same numbers for the same seed. */
export const randomOf = (seed: number) => {
  let state = seed >>> 0
  return (below: number): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor(((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296 * below)
  }
}

/** A caller that is told that nobody knows asks again so often. */
const patience = 12

// ---------------------------------------------------------------------------------------------------------------------
// Processes
// ---------------------------------------------------------------------------------------------------------------------

const decode = Schema.decodeUnknownSync(Schema.fromJsonString(Said))
const encode = Schema.encodeSync(Schema.fromJsonString(Setup))

/** The payer means the curve that viem signs with, whoever else has brought one. */
const curveOfViem: Plugin = {
  name: "curve of viem",
  setup: (build) => {
    build.onResolve({ filter: /^@noble\/curves\/secp256k1$/ }, ({ importer, kind, path }) => {
      const resolveDir = dirname(fileURLToPath(import.meta.resolve("viem")))
      return importer.endsWith("payer.ts") ? build.resolve(path, { kind, resolveDir }) : undefined
    })
  }
}

/** One file, so that a process starts in a moment. */
export const bundle = async (directory: string): Promise<string> => {
  const outfile = join(directory, "payer.mjs")
  await build({
    entryPoints: [fileURLToPath(new URL("payer.ts", import.meta.url))],
    outfile,
    bundle: true,
    minify: true,
    plugins: [curveOfViem],
    platform: "node",
    format: "esm",
    target: "node22",
    logLevel: "warning",
    external: ["pg-native"],
    banner: {
      js: `import { createRequire as requireFrom } from "node:module"; const require = requireFrom(import.meta.url);`
    }
  })
  return outfile
}

export interface Options {
  readonly script: string
  /** Where Node keeps what it has compiled. */
  readonly cache: string
  readonly kills: number
  readonly random: (below: number) => number
  /** How many processes run at once, for every payer. */
  readonly processes: number
  readonly say: (line: string) => void
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>

/** What a process passes while it pays for a few things. */
const places: ReadonlyArray<readonly [Point["step"], number]> = [
  ["ledger", 12],
  ["ledger", 24],
  ["ledger", 40],
  ["sign", 6],
  ["present", 8],
  ["present", 4],
  ["send", 30],
  ["body", 9]
]

/** Kills as often as wanted; what it answers is how many were killed. */
export const run = async (payers: ReadonlyArray<Payer>, options: Options): Promise<number> => {
  const { kills, processes, random, say } = options
  const children = new Set<Child>()
  let asked = 0
  let killed = 0
  /** How long a request takes here and now, in milliseconds: a machine may be busy with other things. */
  let lasts = 300
  const began = performance.now()
  const progress = setInterval(() => {
    const ended = payers.flatMap((payer) => payer.asked).filter(({ end }) => end !== undefined).length
    say(`${killed} killed, ${ended} of ${asked} requests ended, ${Math.round((performance.now() - began) / 1000)} s`)
  }, 5_000)

  const place = (): Point | null => {
    const choice = random(places.length + 3)
    const [step, most] = places[choice] ?? []
    if (step === undefined || most === undefined) return null
    return { step, nth: 1 + random(most), afterMillis: random(3) === 0 ? 1 + random(25) : 0 }
  }

  const next = async (payer: Payer): Promise<Asked | undefined> => {
    const again = payer.waiting.shift()
    if (again !== undefined) return again
    if (killed >= kills) return undefined
    const nth = ++asked
    const counter = counters[random(counters.length)]!
    const origin = await payer.origin()
    const made: Asked = {
      nth,
      counter,
      order: { name: `request ${nth}`, url: `${origin}${counter}/${nth}` },
      end: undefined,
      since: 0,
      story: []
    }
    payer.asked.push(made)
    return made
  }

  /** One process, from its start to its end; whether it was killed. */
  const live = (payer: Payer, kill: Point | null, isKilled: boolean) =>
    new Promise<boolean>((resolve, reject) => {
      const mode = random(2) === 0 ? "pull" : "push"
      const setup: Setup = { ...payer.setup, kill, mode, sweep: !isKilled || random(3) === 0 }
      const child: Child = spawn(process.execPath, [options.script], {
        stdio: ["pipe", "pipe", "pipe"],
        env: { PATH: process.env["PATH"], NODE_COMPILE_CACHE: options.cache, MPP_CRASH_SETUP: encode(setup) }
      })
      children.add(child)
      child.stdin.on("error", () => {})
      const underWay = new Map<string, Asked>()
      const atOnce = 1 + random(3)
      let timer: NodeJS.Timeout | undefined
      let printed = ""
      child.stderr.on("data", (chunk: Buffer) => printed += chunk.toString())

      const isAlive = () => children.has(child)
      const feed = async () => {
        while (isAlive() && underWay.size < atOnce) {
          const asked = await next(payer)
          if (asked === undefined) break
          if (!isAlive()) {
            payer.waiting.push(asked)
            break
          }
          underWay.set(asked.order.name, asked)
          asked.since = performance.now()
          asked.story.push(`begun by ${child.pid}`)
          child.stdin.write(`${JSON.stringify(asked.order)}\n`)
        }
        // Nothing more to do for it: what is left to be paid for waits elsewhere.
        if (isAlive() && underWay.size === 0) child.stdin.end()
      }

      const finish = (asked: Asked, end: End, why: string) => {
        asked.end = end
        asked.story.push(why)
      }

      const hear = (said: Said) => {
        if (said._tag === "Ready") {
          // A process that does not die by itself is killed a little later.
          if (isKilled) timer = setTimeout(() => child.kill("SIGKILL"), kill === null ? random(3 * lasts) : 20 * lasts)
          return
        }
        const asked = underWay.get(said.name)
        if (asked === undefined) return
        lasts += (Math.min(performance.now() - asked.since, 5_000) - lasts) / 8
        if (said._tag === "Content") return finish(asked, "content", "content")
        underWay.delete(said.name)
        if (asked.end !== undefined) return
        const why = `${said.reason} ${said.rule} (${said.money}): ${said.message}`
        const isLast = asked.story.filter((line) => !line.startsWith("begun")).length >= patience
        if (said.money === "spent") finish(asked, "paid", why)
        else if (said.rule.startsWith("origin-")) finish(asked, "unspent", why)
        else if (isLast) finish(asked, said.money === "unspent" ? "unspent" : "uncertain", why)
        else {
          asked.story.push(why)
          setTimeout(() => {
            payer.waiting.push(asked)
          }, 100)
        }
      }

      createInterface({ input: child.stdout }).on("line", (line) => {
        const said = decode(line)
        hear(said)
        // Its content is there, and its process does what it does afterwards: it is not begun again.
        if (said._tag === "Content") underWay.delete(said.name)
        void feed()
      })
      child.once("error", reject)
      child.once("close", (code, signal) => {
        clearTimeout(timer)
        children.delete(child)
        for (const asked of underWay.values()) {
          asked.story.push(`killed ${kill === null ? "in between" : `${kill.step} ${kill.nth} +${kill.afterMillis}`}`)
          payer.waiting.push(asked)
        }
        if (signal === "SIGKILL") return resolve(true)
        if (code === 0) return resolve(false)
        reject(new Error(`a payer failed (${code ?? signal}): ${printed}`))
      })
    })

  const lane = async (payer: Payer) => {
    for (;;) {
      if (killed < kills) {
        if (await live(payer, place(), true)) killed++
        continue
      }
      if (payer.waiting.length > 0) await live(payer, null, false)
      else if (payer.asked.every(({ end }) => end !== undefined)) return
      else await sleep(50)
    }
  }

  try {
    await Promise.all(payers.flatMap((payer) => Array.from({ length: processes }, () => lane(payer))))
    return killed
  } finally {
    clearInterval(progress)
    for (const child of children) child.kill("SIGKILL")
  }
}
