/**
 * How many steps a reader takes: a count, no time, and the same in every run.
 *
 * The engine counts how often each block of our code, and of what it imports, is run. What it does in one step that is as
 * long as the text - to search, to copy, to parse JSON - counts as many steps as the text has characters. A pattern may take
 * many more, so patterns are matched a second time by a matcher that goes back as the language says, and counts; it has to
 * come to the same result.
 */
import * as inspector from "node:inspector"

let steps = 0

// ---------------------------------------------------------------------------------------------------------------------
// Patterns
// ---------------------------------------------------------------------------------------------------------------------

/** The end of the match from a place on, or -1; `rest` matches what follows. */
type Matcher = (at: number, rest: (at: number) => number) => number

interface State {
  text: string
  readonly groups: Array<string | undefined>
}

const nativeExec = RegExp.prototype.exec

class Pattern {
  private at = 0
  private count = 0
  private readonly flags: string
  private readonly isUnicode: boolean
  readonly state: State = { text: "", groups: [] }
  readonly match: Matcher

  private readonly pattern: RegExp

  constructor(pattern: RegExp) {
    this.pattern = pattern
    this.flags = pattern.flags.replace(/[gy]/g, "")
    this.isUnicode = /[uv]/.test(this.flags)
    this.match = this.alternatives()
    if (this.at < this.source.length) this.unknown()
  }

  private get source() {
    return this.pattern.source
  }

  private unknown(): never {
    throw new Error(`a pattern that is not counted: ${this.pattern} at ${this.at}`)
  }

  private eat(text: string): boolean {
    if (!this.source.startsWith(text, this.at)) return false
    this.at += text.length
    return true
  }

  private alternatives(): Matcher {
    const all = [this.sequence()]
    while (this.eat("|")) all.push(this.sequence())
    return (at, rest) => {
      for (const one of all) {
        steps++
        const end = one(at, rest)
        if (end !== -1) return end
      }
      return -1
    }
  }

  private sequence(): Matcher {
    const all: Array<Matcher> = []
    while (this.at < this.source.length && !/[|)]/.test(this.source[this.at]!)) all.push(this.term())
    return all.reduceRight<Matcher>(
      (then, one) => (at, rest) => one(at, (end) => then(end, rest)),
      (at, rest) => rest(at)
    )
  }

  private term(): Matcher {
    const { state } = this
    if (this.eat("^")) return (at, rest) => at === 0 ? rest(at) : -1
    if (this.eat("$")) return (at, rest) => at === state.text.length ? rest(at) : -1
    if (this.eat("\\b")) {
      const isWord = (at: number) => /^\w$/.test(state.text.charAt(at))
      return (at, rest) => isWord(at - 1) !== isWord(at) ? rest(at) : -1
    }
    const ahead = this.eat("(?!") ? false : this.eat("(?=") ? true : undefined
    if (ahead !== undefined) {
      const within = this.closed()
      return (at, rest) => (within(at, (end) => end) !== -1) === ahead ? rest(at) : -1
    }
    const [block, of, width] = /^\(\?:(\[[^\]\\]+\])\{(\d)\}\)/.exec(this.source.slice(this.at)) ?? []
    if (block !== undefined && !this.isUnicode) {
      this.at += block.length
      return this.run(of!, Number(width))
    }
    if (this.eat("(?:")) return this.repeated(this.closed())
    if (this.eat("(")) {
      if (this.eat("?")) this.unknown()
      const group = ++this.count
      const within = this.closed()
      return this.repeated((at, rest) => {
        const before = state.groups[group]
        const end = within(at, (end) => {
          const outer = state.groups[group]
          state.groups[group] = state.text.slice(at, end)
          const found = rest(end)
          if (found === -1) state.groups[group] = outer
          return found
        })
        if (end === -1) state.groups[group] = before
        return end
      })
    }
    const [, reference] = /^\\(\d)/.exec(this.source.slice(this.at)) ?? []
    if (reference !== undefined) {
      this.at += 2
      return (at, rest) => {
        const text = state.groups[Number(reference)] ?? ""
        steps += text.length
        return state.text.startsWith(text, at) ? rest(at + text.length) : -1
      }
    }
    return this.character()
  }

  private closed(): Matcher {
    const within = this.alternatives()
    if (!this.eat(")")) this.unknown()
    return within
  }

  private quantity(): { readonly least: number; readonly most: number } | undefined {
    const [text, sign, least, comma, most] = /^(?:([*+?])|\{(\d+)(,)?(\d+)?\})/.exec(this.source.slice(this.at)) ?? []
    if (text === undefined) return undefined
    this.at += text.length
    if (this.eat("?")) this.unknown()
    if (sign !== undefined) return { least: sign === "+" ? 1 : 0, most: sign === "?" ? 1 : Infinity }
    return { least: Number(least), most: comma === undefined ? Number(least) : Number(most ?? Infinity) }
  }

  private repeated(one: Matcher): Matcher {
    const { least, most } = this.quantity() ?? { least: 1, most: 1 }
    const from = (done: number): Matcher => (at, rest) => {
      steps++
      const end = done < most
        ? one(at, (end) => end === at && done >= least ? -1 : from(done + 1)(end, rest))
        : -1
      return end !== -1 ? end : done >= least ? rest(at) : -1
    }
    return from(0)
  }

  private character(): Matcher {
    const [atom] =
      /^(?:\[(?:[^\]\\]|\\.)*\]|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\p\{\w+\}|\\.|[^\\()[\]{}*+?|])/i.exec(
        this.source.slice(this.at)
      ) ?? this.unknown()
    this.at += atom.length
    return this.run(atom, 1)
  }

  /** A run of characters, or of so many of them together: without a frame of the stack for each. */
  private run(atom: string, width: number): Matcher {
    const { least, most } = this.quantity() ?? { least: 1, most: 1 }
    const { isUnicode, state } = this
    const single = new RegExp(`^${atom}$`, this.flags)
    const known: Array<boolean | undefined> = []
    /** How long the character is that fits, in units; 0 if it does not. */
    const fits = (at: number): number => {
      const code = isUnicode ? state.text.codePointAt(at)! : state.text.charCodeAt(at)
      const found = known[code] ?? nativeExec.call(single, String.fromCodePoint(code)) !== null
      known[code] = found
      return found ? code > 0xffff ? 2 : 1 : 0
    }
    return (at, rest) => {
      let [end, count, reached, within] = [at, 0, at, 0]
      while (count < most && reached < state.text.length) {
        steps++
        const length = fits(reached)
        if (length === 0) break
        reached += length
        if (++within < width) continue
        within = 0
        end = reached
        count++
      }
      for (; count >= least; count--) {
        steps++
        const found = rest(end)
        if (found !== -1) return found
        const isPair = isUnicode && end - at > 1 && state.text.codePointAt(end - 2)! > 0xffff
        end -= isPair ? 2 : width
      }
      return -1
    }
  }

  /** Where the pattern matches, as the native one looks for it. */
  find(text: string, from: number): readonly [start: number, end: number] | undefined {
    this.state.text = text
    const isPair = (at: number) => this.isUnicode && (text.codePointAt(at) ?? 0) > 0xffff
    for (let start = from; start <= text.length; start += isPair(start) ? 2 : 1) {
      steps++
      this.state.groups.length = 0
      const end = this.match(start, (end) => end)
      if (end !== -1) return [start, end]
      if (this.pattern.sticky) return undefined
    }
    return undefined
  }
}

const patterns = new Map<string, Pattern>()

/** What a pattern finds; and its steps are counted. */
const matched = (pattern: RegExp, text: string): RegExpExecArray | null => {
  const from = pattern.global || pattern.sticky ? pattern.lastIndex : 0
  const found = nativeExec.call(pattern, text)
  const known = patterns.get(`${pattern}`) ?? new Pattern(pattern)
  patterns.set(`${pattern}`, known)
  const [start, end] = known.find(`${text}`, from) ?? []
  if (start !== found?.index || (found !== null && end !== found.index + found[0].length)) {
    throw new Error(`counted otherwise than matched: ${pattern}`)
  }
  return found
}

// ---------------------------------------------------------------------------------------------------------------------
// All that is as long as a text
// ---------------------------------------------------------------------------------------------------------------------

const sizeOf = (value: unknown): number =>
  typeof value === "string" || Array.isArray(value) || value instanceof Uint8Array ? value.length : 0

type Cost = (on: unknown, given: ReadonlyArray<unknown>, result: unknown) => number

const all: Cost = (on, given, result) => [on, ...given, result].reduce<number>((sum, one) => sum + sizeOf(one), 0)
const ofResult: Cost = (_, __, result) => sizeOf(result)
const ofGiven: Cost = (_, given) => sizeOf(given[0])
/** From where it is asked to search to where it finds. */
const searched: Cost = (on, [, from], result) =>
  Math.max(0, (typeof result === "number" && result >= 0 ? result : sizeOf(on)) - (typeof from === "number" ? from : 0))

/** What is done in one step of the engine, and takes as long as what it is given, or gives. */
const natives: ReadonlyArray<readonly [on: object, names: string | symbol, cost: Cost]> = [
  [String.prototype, Symbol.iterator, all],
  [String.prototype, "slice substring repeat padEnd padStart concat", ofResult],
  [String.prototype, "startsWith endsWith", ofGiven],
  [String.prototype, "indexOf includes", searched],
  [
    String.prototype,
    "lastIndexOf localeCompare normalize replace replaceAll split toLowerCase toUpperCase trim trimEnd trimStart",
    all
  ],
  [Array.prototype, "slice splice concat", ofResult],
  [Array.prototype, "includes indexOf join lastIndexOf reverse shift unshift toReversed with", all],
  [Object.getPrototypeOf(Uint8Array.prototype), "set", ofGiven],
  [Object.getPrototypeOf(Uint8Array.prototype), "slice", ofResult],
  [Object.getPrototypeOf(Uint8Array.prototype), "fill includes indexOf", all],
  [TextEncoder.prototype, "encode encodeInto", all],
  [TextDecoder.prototype, "decode", all],
  [Array, "from", all],
  [JSON, "parse stringify", all],
  [Object, "keys values entries assign", all],
  [Number, "parseInt parseFloat", all],
  [globalThis, "BigInt Number atob btoa decodeURIComponent encodeURIComponent", all]
]

/** Our own code here takes no steps. */
let counts = false

const counted = (was: object, cost: Cost) =>
  new Proxy(was, {
    apply: (native, on, given: ReadonlyArray<unknown>) => {
      const result: unknown = Reflect.apply(native as () => unknown, on, given)
      if (counts) {
        counts = false
        steps += cost(on, given, result)
        counts = true
      }
      return result
    }
  })

const exec = function(this: RegExp, text: string): RegExpExecArray | null {
  if (!counts) return nativeExec.call(this, text)
  counts = false
  try {
    return matched(this, text)
  } finally {
    counts = true
  }
}

/** With everything in its place again afterwards. */
const withNatives = (run: () => void) => {
  const before = natives.flatMap(([on, names, cost]) =>
    (typeof names === "symbol" ? [names] : names.split(" ")).map((name) => {
      const was = Object.getOwnPropertyDescriptor(on, name)!
      return { on, name, was, value: counted(was.value, cost) }
    })
  )
  const was = Object.getOwnPropertyDescriptor(RegExp.prototype, "exec")!
  const all = [...before, { on: RegExp.prototype, name: "exec", was, value: exec }]
  for (const { name, on, value, was } of all) Object.defineProperty(on, name, { ...was, value })
  counts = true
  try {
    run()
  } finally {
    counts = false
    for (const { name, on, was } of all) Object.defineProperty(on, name, was)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Blocks
// ---------------------------------------------------------------------------------------------------------------------

const session = new inspector.Session()
session.connect()
session.post("Profiler.enable")
// Code that was compiled before counts its functions alone: what is to be counted is imported after this.
session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true })

/** How often blocks were run since this was asked last. */
const blocks = (): number => {
  let sum = 0
  session.post("Profiler.takePreciseCoverage", (error, coverage) => {
    if (error !== null) throw error
    for (const { functions, url } of coverage.result) {
      if (url.includes("/test/wire/steps.ts")) continue
      for (const { ranges } of functions) for (const { count } of ranges) sum += count
    }
  })
  return sum
}

/** The steps that each of these takes. */
export const stepsOf = (runs: ReadonlyArray<() => void>): ReadonlyArray<number> => {
  blocks()
  return runs.map((run) => {
    steps = 0
    withNatives(run)
    return steps + blocks()
  })
}
