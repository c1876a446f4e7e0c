import time,sys
from pathlib import Path
from triptych.run.recipe import read
from triptych.run.fit import read_rows, limited
from triptych.run.progress import Voice
from triptych.modalities import rooms
from triptych.data.check import locate, screen
from triptych.data.facts import Facts
from triptych.data import near
import numpy as np
r=read(sys.argv[1],[])
cols={r.columns()[n]:rooms()[s.modality] for n,s in r.inputs.items()}
views={r.columns()[n]:(rooms()[s.modality],s.prepare) for n,s in r.inputs.items()}
t=locate(read_rows(r,cols,Voice(True)),cols)
for which in [[c] for c in cols]+[list(cols)]:
    best=[9,9]
    for k in range(3):
        for i,f in enumerate((None,1)):
            facts=Facts(views) if f else None
            a=time.perf_counter(); screen(t,{c:cols[c] for c in which},1.0,facts=facts); best[i]=min(best[i],time.perf_counter()-a)
    print(which,len(t.rows),'read %.3f examined %.3f ratio %.2f; us per value %.0f -> %.0f'%(*best,best[1]/best[0],best[0]/len(t.rows)*1e6,best[1]/len(t.rows)*1e6))
for c,f in facts:
    a=time.perf_counter(); k=near.clusters(np.array(f.content),np.array(f.sketched,dtype=np.intp),f.sketches_NS(),f.room.alike)
    print(c,len(k),'clusters',len(np.unique(k)),'distinct',len(np.unique(np.array(f.content))), 'sec %.2f'%(time.perf_counter()-a), {x.code:len(y) for x,y in f.faults.items()})
