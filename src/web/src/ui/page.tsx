import type { ReactNode } from "react";

/** A screen of one column under a heading. */
export function Page({ title, children }: { title: string; children: ReactNode }) {
  return (
    <main className="min-h-0 flex-1 overflow-y-auto">
      <div className="mx-auto flex w-full max-w-2xl flex-col gap-7 px-5 pt-6 pb-10 lg:pt-12">
        <h1 className="text-xl leading-7 font-semibold tracking-tight">{title}</h1>
        {children}
      </div>
    </main>
  );
}
